"""From the py:percent source and the shared frame to a notebook without outputs, its prose filled with figures."""

import re

import jupytext
import nbformat
from nbformat import NotebookNode

from course_tools.build import frame
from course_tools.measure.records import RESULTS_PATH, read_seconds, read_tables
from course_tools.notebooks import Notebook, tags_of
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands

PLACEHOLDER = re.compile(r"\{\{\s*(?:([\w/]+)\.)?(\w+)\.(\w+)(?::([^{}]+))?\s*\}\}")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def compose(notebook: Notebook, measured: bool = True) -> NotebookNode:
    """Return the notebook as its source and the shared frame make it, without outputs.

    Its prose is filled with the figures when they are `measured`, else with "…", as while they are being measured.

    Raises a CourseError when the source lacks its front matter or quotes a figure that has no band.
    """
    source = jupytext.read(notebook.source, fmt="py:percent")
    course = source.metadata.get("course")
    if course is None:
        raise CourseError(f"{notebook.source.name} has no `course:` front matter.")
    cells = [frame.title_cell(notebook, course, read_seconds(notebook.key)), *frame.set_up_cells()]
    for cell in source.cells:
        cells.append(_prepared(cell))
        if "parameters" in tags_of(cell):
            cells.append(_prepared(frame.start_cell(notebook)))
    headline = [cells.pop()] if "headline" in tags_of(cells[-1]) else []
    quiz = next((at for at, cell in enumerate(cells) if cell.source.startswith("## Quiz")), len(cells))
    cells[quiz:quiz] = frame.recap_cells(course)
    cells += [*frame.reference_cells(course), *headline]
    for position, cell in enumerate(cells):
        cell.id = f"cell-{position:02d}"  # stable, so that a rebuild shows only real changes
        if cell.cell_type == "markdown":
            cell.source = with_figures(cell.source, notebook) if measured else PLACEHOLDER.sub("…", cell.source)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def with_figures(text: str, notebook: Notebook) -> str:
    """Fill the placeholders of a notebook's text with measured figures.

    ``{{frozen_10.mean:.2f}}`` is a figure of the notebook itself, ``{{experiment.frozen_10.mean:.2f}}`` one of the
    experiment of the same number, ``{{full.frozen_10.value:.2f}}`` that of the notebook's last `full` run.
    """
    return _filled(text, notebook.key, {None: notebook.key, "experiment": Notebook(notebook.name, True).key})


def page_with_figures(text: str, page: str) -> str:
    """Fill the placeholders of a page, which name the notebook: ``{{experiments/01_trial.frozen_10.mean:.2f}}``."""
    return _filled(text, page, {})


def _filled(text: str, quoting: str, short: dict[str | None, str]) -> str:
    measured, full = (read_bands(), read_tables(RESULTS_PATH)) if PLACEHOLDER.search(text) else ({}, {})

    def figure(match: re.Match) -> str:
        key, name, field, form = match.groups()
        if key == "full":
            value, command = full.get(quoting, {}).get(name, {}).get(field), "course results"
        else:
            band = measured.get(short.get(key, key), {}).get("default", {}).get("bands", {}).get(name)
            value, command = getattr(band, field, None), "course bands"
        if value is None:
            raise CourseError(f"{quoting} quotes {match[0]}, which has not been measured: run `{command}`.")
        return format(value, form or ".3g")

    return PLACEHOLDER.sub(figure, text)


def _prepared(cell: NotebookNode) -> NotebookNode:
    """Fold what is machinery or a solution; a folded cell still shows its first line, so that is a title."""
    tags = tags_of(cell)
    if "solution" in tags and cell.cell_type == "markdown":
        cell.source = f"<details><summary>What was seen</summary>\n\n{cell.source}\n\n</details>"
    elif "solution" in tags:
        cell.source = f"# @title Solution\n{cell.source}"
        cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
        cell.metadata["cellView"] = "form"  # Colab's way to fold a cell
    elif folded := [tag for tag in tags if tag in frame.FOLDED]:
        title, code = frame.FOLDED[folded[0]], cell.source
        if not title:
            title, code = cell.source.removeprefix("# ").split("\n", 1)
        cell.source = f"# @title {title}\n{code}"
        cell.metadata["jupyter"] = {"source_hidden": True}
        cell.metadata["cellView"] = "form"
    return cell
