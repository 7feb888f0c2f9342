"""Which network, which strategy? Answered by measurements on one's own images, not by rules of thumb."""

from dataclasses import dataclass
from numbers import Real

import pandas as pd

from course_utils.errors import CourseError, whole_number

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
FINE_TUNING_EPOCHS = 10


@dataclass(frozen=True)
class Recommendation:
    """What to take, and why."""

    model: str
    input_size: int  # pixels
    strategy: str  # "from scratch", "frozen", or "frozen, then fine-tuned"
    seconds: float  # predicted for the strategy on this machine
    reasons: tuple[str, ...]
    table: pd.DataFrame  # all candidates with predicted times, best score first

    def __str__(self) -> str:
        head = f"{self.model} at {self.input_size} px, {self.strategy}: about {spoken(self.seconds)}"
        return "\n".join([head, *(f"- {reason}" for reason in self.reasons)])


def recommend(measured: pd.DataFrame, *, images: int, classes: int, budget: float, unit: str) -> Recommendation:
    """Name a network and a strategy for a target task, with reasons.

    Parameters
    ----------
    measured : DataFrame
        From `candidates.measure_candidates`.
    images, classes : int
        Size of the whole target data, not of the sample.
    budget, unit : float, {"seconds", "minutes", "hours"}
        Time for features and training.

    Raises
    ------
    CourseError
        If a number or the unit is impossible, or no candidate fits the budget.
    """
    check_request(measured, images, classes, budget, unit)
    available = budget * SECONDS[unit]
    table = with_predicted_times(measured, images).sort_values("score", ascending=False, ignore_index=True)
    fitting = table[table["frozen"] <= available]
    if fitting.empty:
        fastest = spoken(table["frozen"].min())
        raise CourseError(f"{budget:g} {unit} are too short for {images} images: the fastest needs about {fastest}.")
    best = fitting.iloc[0]
    strategy, column = chosen_strategy(best, available)
    reasons = reasons_for(best, fitting, table, strategy, available, images / classes)
    return Recommendation(best["name"], int(best["input size"]), strategy, float(best[column]), reasons, table)


def with_predicted_times(measured: pd.DataFrame, images: int) -> pd.DataFrame:
    """Add the seconds of frozen features with a head, and of fine-tuning after them."""
    table = measured.assign(frozen=images * (measured["pass"] + measured["head"]))
    table["fine-tuned"] = table["frozen"] + FINE_TUNING_EPOCHS * images * table["training step"]
    return table


def chosen_strategy(best: pd.Series, available: float) -> tuple[str, str]:
    """Return the strategy and the column with its time."""
    if best["score"] <= best["random score"]:
        return "from scratch", "fine-tuned"
    if best["fine-tuned"] <= available:
        return "frozen, then fine-tuned", "fine-tuned"
    return "frozen", "frozen"


def reasons_for(best, fitting, table, strategy, available, images_per_class) -> tuple[str, ...]:
    """Tell in sentences what led to the choice."""
    highest = "that of the only candidate" if len(fitting) == 1 else f"the highest of the {len(fitting)} candidates"
    reasons = [
        f"its score of {best['score']:.3f} is {highest} whose features can be computed in {spoken(available)}; "
        f"random weights score {best['random score']:.3f}"
    ]
    late = table[table["frozen"] > available]
    if names := [f"{name} {size} px" for name, size in zip(late["name"], late["input size"], strict=True)]:
        reasons.append(f"too slow for the budget: {', '.join(names)}")
    if strategy == "from scratch":
        reasons.append(
            "its features tell the classes apart no better than random ones, and no other network that fits scores"
            " higher: there is nothing to transfer"
        )
        if best["fine-tuned"] > available:
            reasons.append(f"{FINE_TUNING_EPOCHS} epochs take longer than the {spoken(available)} of the budget")
    elif strategy == "frozen":
        reasons.append(f"{FINE_TUNING_EPOCHS} epochs of fine-tuning would take about {spoken(best['fine-tuned'])}")
    else:
        reasons.append(
            f"the frozen features take about {spoken(best['frozen'])}; the rest allows {FINE_TUNING_EPOCHS} epochs of "
            f"fine-tuning, to be kept only if validation improves ({images_per_class:.0f} images a class)"
        )
    return tuple(reasons)


def check_request(measured: pd.DataFrame, images: int, classes: int, budget: float, unit: str) -> None:
    """Refuse what is no size, no number of classes, no time, or a sample without some class."""
    if unit not in SECONDS:
        raise CourseError(f"The unit {unit!r} is unknown: accepted are {', '.join(SECONDS)}.")
    if not (isinstance(budget, Real) and budget > 0):
        raise CourseError(f"A budget of {budget!r} {unit} is impossible: give a number above 0.")
    whole_number("images", images)
    if whole_number("classes", classes) < 2 or images < classes:
        raise CourseError(
            f"{images} images of {classes} classes are impossible: accepted are two classes or more, "
            "and at least one image of each."
        )
    if (seen := measured["classes"].iloc[0]) != classes:
        raise CourseError(f"The sample shows {seen} classes of {classes}: measure on one that shows each of them.")


def spoken(seconds: float) -> str:
    """Return a time in a unit in which it is easily read."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
