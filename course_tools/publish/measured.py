"""The page "What was measured": every headline figure with its interval, and the status of the last run here."""

from pathlib import Path

import jupytext

from course_tools.measure.records import RESULTS_PATH, read_tables
from course_tools.notebooks import Notebook, all_notebooks
from course_tools.run.job import BUILD
from course_utils.evaluation.expectations import Band, read_bands
from course_utils.whole_file import read_json

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
    course = jupytext.read(notebook.source, fmt="py:percent").metadata["course"]
    storey = "experiment" if notebook.is_experiment else "lesson"
    versions = ", ".join(f"{name} {version}" for name, version in measured.get("versions", {}).items())
    about = f"[Open the {storey}](../notebooks/{notebook.key}.ipynb). {len(measured['seeds'])} runs; {versions}."
    titles, bands, rows = course.get("results", {}), measured["bands"], []
    for name in dict.fromkeys([*bands, *(name for name in titles if name in full)]):  # some only `full` has
        mean, contrast = (_mean(bands[name]), bands[name].contrast) if name in bands else ("–", None)
        figure = _number(full.get(name, {}).get("value"))
        rows.append(f"| {titles.get(name, f'`{name}`')} | {mean} | {_number(contrast)} | {figure} |")
    return [f"## {notebook.number} {course['title']}", "", about, "", *HEAD, *rows, ""]


def _mean(band: Band) -> str:
    return f"{_number(band.mean)} ± {band.half_width:.2g}".replace(" ", "\N{NO-BREAK SPACE}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def status_table(folder: Path = BUILD) -> list[str]:
    """Return the lines of a Markdown table of the notebooks that were run here, or one sentence where none was."""
    runs = {notebook.key: read_json(folder / f"{notebook.key}.json") for notebook in all_notebooks()}
    rows = [f"| {key} | {run['status']} | {run['seconds'] / 60:.1f} |" for key, run in runs.items() if run]
    return ["| Notebook | Status | Minutes |", "|---|---|---|", *rows] if rows else ["No notebook was run here yet."]
