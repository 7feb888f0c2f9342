"""Whether probabilities mean what they say: reliability, calibration error, and temperature scaling.

References
----------
Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks", ICML,
https://arxiv.org/abs/1706.04599
"""

import numpy as np
import pandas
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import class_probabilities, positive_scores
from course_utils.evaluation.style import ROLE_COLOURS, next_colour, unit_square

# Probabilities of exactly 0 or 1 have no finite logit.
_CLOSEST = 1e-7


def with_temperature(scores: ArrayLike, temperature: float) -> np.ndarray:
    """Divide the logits of two-class probabilities by a temperature; above 1 the probabilities come nearer to 0.5.

    Parameters
    ----------
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    temperature : float
        Above 0. The order of the scores stays, and so does every ROC curve.

    Returns
    -------
    ndarray of float64, shape (n,)
        Probabilities of class 1.
    """
    probabilities = class_probabilities(scores)
    if probabilities.shape[1] != 2:
        raise CourseError(f"scores hold {probabilities.shape[1]} classes; temperature scaling here accepts two.")
    if not (np.isfinite(temperature) and temperature > 0):
        raise CourseError(f"temperature is {temperature!r}; accepted is a finite number above 0.")
    return expit(logit(np.clip(probabilities[:, 1], _CLOSEST, 1 - _CLOSEST)) / temperature)


def fit_temperature(y_true: ArrayLike, scores: ArrayLike) -> float:
    """Return the temperature between 0.05 and 20 with the smallest log loss, to be fitted on validation.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.

    Returns
    -------
    float
    """
    labels, positive = positive_scores(y_true, scores)

    def loss(log_temperature):
        return log_loss(labels, with_temperature(positive, np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def reliability_table(y_true: ArrayLike, scores: ArrayLike, bins: int = 10) -> pandas.DataFrame:
    """Sort samples by predicted probability into equal intervals, and compare with what happened.

    Parameters
    ----------
    y_true, scores
        See `fit_temperature`.
    bins : int
        Intervals between 0 and 1, at least 2.

    Returns
    -------
    DataFrame
        One row an interval that is not empty: "predicted" (mean probability of class 1), "observed" (share of
        class 1), "samples".
    """
    labels, positive = positive_scores(y_true, scores)
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise CourseError(f"bins is {bins!r}; accepted is a whole number, at least 2.")
    interval = np.minimum((positive * bins).astype(int), bins - 1)
    rows = pandas.DataFrame({"interval": interval, "predicted": positive, "observed": labels})
    return rows.groupby("interval").agg(
        predicted=("predicted", "mean"), observed=("observed", "mean"), samples=("observed", "size")
    )


def calibration_error(y_true: ArrayLike, scores: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: mean distance of predicted and observed, weighted by samples."""
    table = reliability_table(y_true, scores, bins)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["samples"]))


def plot_reliability(
    y_true: ArrayLike,
    scores: ArrayLike,
    label: str = "model",
    bins: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Draw observed share over predicted probability; call again with the same `ax` to compare.

    Parameters
    ----------
    y_true, scores, bins
        See `reliability_table`. The area of a point grows with its number of samples.
    label : str
        Name in the legend, where the calibration error is added.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = reliability_table(y_true, scores, bins)
    ax = unit_square(ax)
    if not ax.lines:
        ax.plot([0, 1], [0, 1], color=ROLE_COLOURS["reference"], linestyle=":", label="as predicted")
    colour = next_colour(ax)
    error = calibration_error(y_true, scores, bins)
    ax.plot(table["predicted"], table["observed"], color=colour, label=f"{label} (error {error:.3f})")
    sizes = 15 + 300 * table["samples"] / table["samples"].sum()
    ax.scatter(table["predicted"], table["observed"], s=sizes, color=colour, zorder=3)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.set(title="Reliability", xlabel="predicted probability", ylabel="observed share")
    ax.legend(loc="lower right")
    return ax
