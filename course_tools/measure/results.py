"""The figures of the last `full` runs, kept in a tracked file for the README's table of results."""

from pathlib import Path

import jupytext

from course_tools.measure.records import read_tables, write_tables
from course_tools.notebooks import Notebook, all_notebooks
from course_tools.parameters import run_parameters
from course_tools.run.job import BUILD
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands
from course_utils.settings import ROOT
from course_utils.whole_file import read_json

RESULTS_PATH = ROOT / "data" / "results.toml"


def keep_full_runs(folder: Path = BUILD) -> list[str]:
    """Put the figures of the finished `full` runs in ``folder`` into ``data/results.toml``; return the notebooks' keys.

    Notebooks without such a run keep the figures of their last one. Raises a CourseError when none has one.
    """
    runs = {
        notebook.key: _figures(run)
        for notebook in all_notebooks()
        if isinstance(run := read_json(folder / f"{notebook.key}.json"), dict) and _is_full(notebook, run)
    }
    if not runs:
        raise CourseError(
            f"{folder.name}/ holds no finished run of the full profile; make one with `course run 02 --profile full`."
        )
    write_tables(RESULTS_PATH, read_tables(RESULTS_PATH) | runs)
    return list(runs)


def _is_full(notebook: Notebook, run: dict) -> bool:
    """Tell whether a run passed with the values of the profile `full`, and no others."""
    if run["status"] != "passed" or run["parameters"].get("PROFILE") != "full":
        return False
    return run["parameters"] == run_parameters(notebook, "full", {})


def results_table() -> list[str]:
    """Return the lines of a Markdown table: the figures that each front matter names, in `full` and in `default`."""
    rows = ["| | Figure (what it is compared with) | `full` | `default`, 5 runs: mean ± 95% |", "|---|---|---|---|"]
    kept, bands = read_tables(RESULTS_PATH), read_bands()
    for notebook in all_notebooks():
        if notebook.key in kept:
            rows += _rows(notebook, kept[notebook.key], bands[notebook.key]["default"]["bands"])
    return rows


def _rows(notebook: Notebook, figures: dict, bands: dict) -> list[str]:
    named, rows = jupytext.read(notebook.source, fmt="py:percent").metadata["course"].get("results", {}), []
    for name, title in named.items():
        if name not in figures:
            raise CourseError(
                f"{notebook.source.name} names the result {name!r}; it is not among the figures of its last full run."
            )
        figure, band = figures[name], bands.get(name)
        compared = f" ({_number(figure['contrast'])})" if "contrast" in figure else ""
        number = "" if rows else notebook.number
        stored = f"{_number(band.mean)} ± {band.half_width:.2g}" if band else "–"  # some figures only `full` has
        rows.append(f"| {number} | {title} | **{_number(figure['value'])}**{compared} | {stored} |")
    return rows


def _figures(run: dict) -> dict[str, dict[str, float]]:
    return {
        record["name"]: {key: float(f"{record[key]:.4g}") for key in ("value", "contrast") if record[key] is not None}
        for record in run["records"]
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
