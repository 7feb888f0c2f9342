"""The page "What was measured": every headline figure with its interval, and the status of the last run here."""

import re

import jupytext
from nbformat import NotebookNode

from course_tools.build.compose import PLACEHOLDER
from course_tools.measure.records import RESULTS_PATH, read_tables
from course_tools.notebooks import Notebook, all_notebooks, tags_of
from course_tools.run.job import BUILD
from course_utils.evaluation.expectations import Band, read_bands
from course_utils.whole_file import read_json

IN_CODE = re.compile(r'"(\w+)"')
HEAD = ["| Figure | Mean ± 95% | Compared with | `full` |", "|---|---|---|---|"]


def measured_tables() -> list[str]:
    """Return the lines of Markdown: for each notebook a heading, seeds and versions, and a table of its figures."""
    bands, full, lines = read_bands(), read_tables(RESULTS_PATH), []
    for notebook in all_notebooks():
        measured = bands.get(notebook.key, {}).get("default", {})
        if measured.get("bands"):
            lines += _table(notebook, measured, full.get(notebook.key, {}))
    return lines


def _table(notebook: Notebook, measured: dict, full: dict) -> list[str]:
    source = jupytext.read(notebook.source, fmt="py:percent")
    course, sections = source.metadata["course"], _sections(source.cells)
    storey = "experiment" if notebook.is_experiment else "lesson"
    versions = ", ".join(f"{name} {version}" for name, version in measured.get("versions", {}).items())
    about = f"[Open the {storey}](../notebooks/{notebook.key}.ipynb). {len(measured['seeds'])} runs; {versions}."
    titles, bands, rows = course.get("results", {}), measured["bands"], []
    for name in dict.fromkeys([*bands, *(name for name in titles if name in full)]):  # some only `full` has
        mean, contrast = (_mean(bands[name]), bands[name].contrast) if name in bands else ("–", None)
        figure = _number(full.get(name, {}).get("value"))
        title = titles.get(name, f"`{name}` ({sections[name]})" if name in sections else f"`{name}`")
        rows.append(f"| {title} | {mean} | {_number(contrast)} | {figure} |")
    return [f"## {notebook.number} {course['title']}", "", about, "", *HEAD, *rows, ""]


def _sections(cells: list[NotebookNode]) -> dict[str, str]:
    """Return the heading under which each figure is first quoted in prose, or named in code before the last checks."""
    section, found = "", {}
    for cell in (cell for cell in cells if "headline" not in tags_of(cell)):  # those name all figures of the notebook
        for line in cell.source.splitlines():
            if cell.cell_type == "code":
                names = IN_CODE.findall(line)
            else:
                names = [name for other, name, *_ in PLACEHOLDER.findall(line) if not other]
                section = line.lstrip("# ") if line.startswith("#") else section
            found |= {name: section for name in names if name not in found}
    return found


def _mean(band: Band) -> str:
    return f"{_number(band.mean)} ± {band.half_width:.2g}".replace(" ", "\N{NO-BREAK SPACE}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def status_table() -> list[str]:
    """Return the lines of a Markdown table of the notebooks that were run here, or one sentence where none was."""
    runs = {notebook.key: read_json(BUILD / f"{notebook.key}.json") for notebook in all_notebooks()}
    rows = [f"| {key} | {run['status']} | {run['seconds'] / 60:.1f} |" for key, run in runs.items() if run]
    return ["| Notebook | Status | Minutes |", "|---|---|---|", *rows] if rows else ["No notebook was run here yet."]
