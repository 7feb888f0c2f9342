"""A head on cached features beside a frozen base inside `fit`, as notebook 02 measures it."""

from course_tools.bench.notebook_cell import repeat_cell
from course_tools.bench.rounds import ROUNDS
from course_tools.bench.table import Row, versus

CACHED, NAIVE = "features once", "frozen base inside fit"
FIGURES = {CACHED: "60 / (pass_once + head_epochs)", NAIVE: "60 / (EPOCHS * naive_epoch)"}


def measure(profile: str) -> list[Row]:
    """Return the line: heads of 20 epochs a minute, the one pass of the backbone included."""
    rates = repeat_cell("02_feature_extraction", "naive_epoch = seconds(", FIGURES, profile, ROUNDS[profile])
    return [versus("heads of 20 epochs", "heads/min", rates[CACHED], NAIVE, rates[NAIVE], 15)]
