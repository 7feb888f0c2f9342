"""From the py:percent source to the notebook that students open."""

import os
import re

import jupytext
import nbformat
from nbformat import NotebookNode

from course_utils import settings
from course_utils.evaluation.expectations import Band, read_bands
from course_utils.runner import frame
from course_utils.runner.bands_file import update_record
from course_utils.runner.execute import execute
from course_utils.runner.figures import shrink_figures
from course_utils.runner.notebooks import Notebook
from course_utils.settings import CourseError

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\.(\w+)(?::([^{}]+))?\s*\}\}")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def compose(notebook: Notebook, measured: bool = True, address: str | None = None) -> NotebookNode:
    """Return the notebook as its source and the shared frame make it, without outputs.

    Parameters
    ----------
    notebook
        Which notebook.
    measured
        Fill the prose with the measured figures; ``False`` leaves "…", as while they are being measured.
    address
        Public address of the repository; by default ``settings.REPOSITORY_URL``.

    Raises
    ------
    CourseError
        When the source lacks its front matter or quotes a figure that has no band.
    """
    source = jupytext.read(notebook.source, fmt="py:percent")
    course = source.metadata.get("course")
    if course is None:
        raise CourseError(f"{notebook.source.name} has no `course:` front matter.")
    address = settings.REPOSITORY_URL if address is None else address
    records = read_bands().get(notebook.name, {})
    seconds = {profile: record["seconds"] for profile, record in records.items()}
    cells = [frame.title_cell(notebook, course, seconds, address), frame.set_up_cell(address)]
    for cell in source.cells:
        cells.append(_prepared(cell))
        if "parameters" in cell.metadata.get("tags", []):
            cells.append(frame.start_cell(notebook))
    cells += frame.closing_cells(course)
    bands = records["lesson"]["bands"] if "lesson" in records else {}
    for position, cell in enumerate(cells):
        cell.id = f"cell-{position:02d}"  # stable, so that a rebuild shows only real changes
        if cell.cell_type == "markdown" and measured:
            cell.source = with_figures(cell.source, bands, notebook.source.name)
        elif cell.cell_type == "markdown":
            cell.source = PLACEHOLDER.sub("…", cell.source)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def build(notebook: Notebook, on_cell=None) -> float:
    """Execute the composed notebook with the ``lesson`` profile, store it with outputs, return the seconds it took.

    The time goes into the file of bands, and with it to the notebook's first cell.
    """
    draft = notebook.path.with_suffix(".draft.ipynb")
    try:
        nbformat.write(compose(notebook), draft)
        result = execute(draft, draft, {}, on_cell)
        if result["status"] != "passed":
            error = result["error"]
            raise CourseError(f"{notebook.name} failed in the cell\n{error['cell']}\n{error['message']}")
        update_record(notebook.name, "lesson", {"seconds": result["seconds"]})
        executed = nbformat.read(draft, as_version=4)
        nbformat.write(_without_run_metadata(executed, notebook), draft)
        os.replace(draft, notebook.path)
    finally:
        draft.unlink(missing_ok=True)
    return result["seconds"]


def differences(notebook: Notebook) -> list[str]:
    """Return what differs between the stored notebook and its source, in code, prose or tags; nothing is good."""
    if not notebook.path.exists():
        return [f"{notebook.path.name} is not built"]
    stored = nbformat.read(notebook.path, as_version=4).cells
    wanted = compose(notebook).cells
    if len(stored) != len(wanted):
        return [f"{notebook.path.name} has {len(stored)} cells, its source makes {len(wanted)}"]
    return [
        f"{notebook.path.name}, cell {position}: the source now begins {after.source[:60]!r}"
        for position, (before, after) in enumerate(zip(stored, wanted))
        if (before.cell_type, before.source, before.metadata) != (after.cell_type, after.source, after.metadata)
    ]


def with_figures(text: str, bands: dict[str, Band], source: str) -> str:
    """Fill the placeholders of a text, such as ``{{frozen_10.mean:.2f}}``, with measured figures."""

    def figure(match: re.Match) -> str:
        name, field, form = match.groups()
        if name not in bands or not hasattr(bands[name], field):
            raise CourseError(f"{source} quotes {name}.{field}, which has not been measured: run `course bands`.")
        return format(getattr(bands[name], field), form or ".3g")

    return PLACEHOLDER.sub(figure, text)


def _prepared(cell: NotebookNode) -> NotebookNode:
    tags = cell.metadata.get("tags", [])
    if "solution" in tags and cell.cell_type == "markdown":
        cell.source = f"<details><summary>What was seen</summary>\n\n{cell.source}\n\n</details>"
    elif "solution" in tags:
        cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
        cell.metadata["cellView"] = "form"  # Colab's way to fold a cell
        cell.source = f"# @title Solution\n{cell.source}"  # a folded cell still shows its title or its first line
    return cell


def _without_run_metadata(executed: NotebookNode, notebook: Notebook) -> NotebookNode:
    """Keep cells and outputs, drop the times and paths that a run leaves in the metadata."""
    clean = compose(notebook)
    for cell, run in zip(clean.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = run.outputs, run.execution_count
            shrink_figures(cell.outputs)
    return clean
