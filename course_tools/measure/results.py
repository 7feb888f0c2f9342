"""The figures of the last `full` runs, kept in a tracked file for the site."""

import json

from course_tools.measure.records import RESULTS_PATH, tables_to_change
from course_tools.notebooks import Notebook, all_notebooks
from course_tools.parameters import run_parameters
from course_tools.run.job import BUILD
from course_utils.errors import CourseError
from course_utils.whole_file import read_json


def keep_full_runs() -> list[str]:
    """Put the figures of the finished `full` runs in ``build/`` into ``data/results.toml``; return the notebooks' keys.

    Notebooks without such a run keep the figures of their last one. Raises a CourseError when none has one.
    """
    runs = {
        notebook.key: _figures(run)
        for notebook in all_notebooks()
        if isinstance(run := read_json(BUILD / f"{notebook.key}.json"), dict) and _is_full(notebook, run)
    }
    if not runs:
        raise CourseError(
            f"{BUILD.name}/ holds no finished run of the full profile; make one with `course run 02 --profile full`."
        )
    with tables_to_change(RESULTS_PATH) as known:
        known |= runs
    return list(runs)


def _is_full(notebook: Notebook, run: dict) -> bool:
    """Tell whether a run passed with the values of the profile `full`, and no others."""
    if run["status"] != "passed" or run["parameters"].get("PROFILE") != "full":
        return False
    # A list of a parameter file is a tuple here, and a list again in the record of the run.
    return run["parameters"] == json.loads(json.dumps(run_parameters(notebook, "full", {})))


def _figures(run: dict) -> dict[str, dict[str, float]]:
    return {
        record["name"]: {key: float(f"{record[key]:.4g}") for key in ("value", "contrast") if record[key] is not None}
        for record in run["records"]
    }
