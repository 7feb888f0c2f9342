"""Ratios of times that an experiment measures itself, in fresh runs of it: what is timed is what the notebook shows."""

import tempfile
from pathlib import Path

from course_tools.bench.table import Row, versus
from course_tools.notebooks import Notebook
from course_tools.parameters import profile_parameters
from course_tools.run.execute import execute
from course_utils.errors import CourseError

RUNS = {"smoke": 1, "default": 3, "full": 5}
# Experiment, its figure, what is faster, than what, and the goal.
SPEEDUPS = {
    "heads": ("02_feature_extraction", "cached_speedup", "heads on cached features", "frozen base inside fit", 5),
    "trials": ("09_optuna_tuning", "frozen_speedup", "Optuna trials, frozen", "everything in every trial", 20),
}


def measure(part: str, profile: str) -> list[Row]:
    """Return the line of one part: how many times as much is done in the same time.

    Raises a CourseError when a run of the experiment fails.
    """
    experiment, figure, what, peer, goal = SPEEDUPS[part]
    notebook, ratios = Notebook(experiment, is_experiment=True), []
    parameters = profile_parameters(notebook, profile)
    for _ in range(RUNS[profile]):
        with tempfile.TemporaryDirectory() as folder:
            executed = Path(folder) / "executed.ipynb"
            # Bands are for a quiet machine; here the figure itself is wanted.
            result = execute(notebook.path, executed, parameters, environment={"COURSE_MEASURE": "1"})
        if result["status"] != "passed":
            raise CourseError(f"{notebook.key} failed: {result['error']['message']}")
        ratios += [record["value"] for record in result["records"] if record["name"] == figure]
    return [versus(what, "times", ratios, peer, [1.0] * RUNS[profile], goal)]
