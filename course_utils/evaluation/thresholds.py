"""Where to cut the scores of a two-class problem: choose on validation, then apply to the test part."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import positive_scores

CRITERIA = ("accuracy", "balanced accuracy")


def choose_threshold(y_true: ArrayLike, scores: ArrayLike, criterion: str = "balanced accuracy") -> float:
    """Return the threshold that is best by a criterion; scores above it are called class 1.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        Labels of the validation part, 0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    criterion : {"balanced accuracy", "accuracy"}
        Balanced accuracy is the mean of sensitivity and specificity, whatever the share of the classes;
        its maximum is that of Youden's index.

    Returns
    -------
    float
        Midway between two scores, from 0 to 1; the lowest of equally good ones.

    Raises
    ------
    CourseError
        For bad labels or scores, one class alone, or an unknown criterion.

    References
    ----------
    Youden, "Index for rating diagnostic tests", Cancer 3, 32-35 (1950)
    """
    if criterion not in CRITERIA:
        raise CourseError(f"criterion is {criterion!r}; accepted are {' and '.join(map(repr, CRITERIA))}.")
    labels, positive = positive_scores(y_true, scores)
    thresholds, sensitivity, specificity = operating_points(labels, positive)
    share = labels.mean() if criterion == "accuracy" else 0.5
    value = share * sensitivity + (1 - share) * specificity
    return float(thresholds[np.argmax(value >= value.max() - 1e-12)])  # equally good ones may differ by rounding


def threshold_at_specificity(y_true: ArrayLike, scores: ArrayLike, specificity: float = 0.95) -> float:
    """Return the lowest threshold at which the specificity is no less than demanded, above 0 and at most 1.

    The other parameters and errors are those of `choose_threshold`.
    """
    labels, positive = positive_scores(y_true, scores)
    _check_demand("specificity", specificity)
    thresholds, _, reached = operating_points(labels, positive)
    # At the last threshold, 1, nothing is called positive: every demand is met there.
    return float(thresholds[np.argmax(reached >= specificity - 1e-12)])


def threshold_at_sensitivity(y_true: ArrayLike, scores: ArrayLike, sensitivity: float = 0.95) -> float:
    """Return the highest threshold at which the sensitivity is no less than demanded, above 0 and at most 1.

    It is 0, the lowest there is, where scores of exactly 0 make the demand impossible. The other parameters and
    errors are those of `choose_threshold`.
    """
    labels, positive = positive_scores(y_true, scores)
    _check_demand("sensitivity", sensitivity)
    thresholds, reached, _ = operating_points(labels, positive)
    # The sensitivity falls as thresholds rise: the last one that meets the demand.
    return float(thresholds[max(0, (reached >= sensitivity - 1e-12).sum() - 1)])


def sensitivity_at_specificity(y_true: ArrayLike, scores: ArrayLike, specificity: float = 0.95) -> float:
    """Return the sensitivity where the same data have the demanded specificity: a point of their ROC curve."""
    labels, positive = positive_scores(y_true, scores)
    threshold = threshold_at_specificity(labels, positive, specificity)
    return float((positive[labels == 1] > threshold).mean())


def _check_demand(name: str, share: float) -> None:
    if not (isinstance(share, Real) and 0 < share <= 1):
        raise CourseError(f"{name} is {share!r}; accepted is a share above 0, at most 1.")


def operating_points(labels: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every threshold that cuts differently, rising, with its sensitivity and specificity."""
    levels = np.unique(positive)
    middles = (levels[:-1] + levels[1:]) / 2
    # Between neighbours among the floats there is nothing, and the middle is rounded to one of them.
    thresholds = np.concatenate([[0.0], np.where(middles < levels[1:], middles, levels[:-1]), [1.0]])
    at_most = [np.searchsorted(np.sort(positive[labels == k]), thresholds, "right") for k in (0, 1)]
    return thresholds, 1 - at_most[1] / (labels == 1).sum(), at_most[0] / (labels == 0).sum()
