"""How far a figure of one test set could have been off, had other samples been drawn."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import positive_scores


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    y_true: ArrayLike,
    scores: ArrayLike,
    *,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of a metric over test sets drawn with replacement.

    Each class is drawn on its own, so that every drawn set holds both, in the given numbers. Samples count as
    independent: several images of one patient make the true interval wider than this one.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, scores)`` gives a number, such as `sklearn.metrics.roc_auc_score`.
    y_true : array-like of int, shape (n,)
        0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    repeats : int
        Drawn sets, at least 20.
    confidence : float
        Coverage, between 0 and 1.
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    CourseError
        For bad labels or scores, one class alone, too few repeats or an impossible confidence.

    References
    ----------
    Efron & Tibshirani, "An introduction to the bootstrap", Chapman & Hall 1993, chapter 13
    """
    labels, positive = positive_scores(y_true, scores)
    if repeats < 20:
        raise CourseError(f"repeats is {repeats}; accepted are 20 or more.")
    if not 0 < confidence < 1:
        raise CourseError(f"confidence is {confidence}; accepted is a number between 0 and 1.")
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == k) for k in (0, 1)]
    values = np.empty(repeats)
    for repeat in range(repeats):
        drawn = np.concatenate([random.choice(rows, len(rows)) for rows in members])
        values[repeat] = metric(labels[drawn], positive[drawn])
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
