"""Trials of a search over frozen backbones beside the naive objective, as notebook 09 measures them."""

from course_tools.bench.notebook_cell import repeat_cell
from course_tools.bench.rounds import ROUNDS
from course_tools.bench.table import Row, versus

ONCE, NAIVE = "features and graphs once", "everything in every trial"
FIGURES = {name: f"speed[{name!r}]" for name in (ONCE, NAIVE)}


def measure(profile: str) -> list[Row]:
    """Return the line: trials a minute."""
    rates = repeat_cell("09_optuna_tuning", "speed = {", FIGURES, profile, ROUNDS[profile])
    return [versus("Optuna trials, frozen", "trials/min", rates[ONCE], NAIVE, rates[NAIVE], 20)]
