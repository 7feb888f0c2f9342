"""How far a figure of one test set could have been off, had other samples been drawn."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from course_utils.errors import CourseError, whole_number
from course_utils.evaluation.inputs import positive_scores


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    y_true: ArrayLike,
    scores: ArrayLike,
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95% percentile interval of a metric over test sets drawn with replacement.

    Each class is drawn on its own, so that every drawn set holds both, in the given numbers. Samples count as
    independent: several images of one patient make the true interval wider than this one.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, scores)`` gives a number, such as `sklearn.metrics.roc_auc_score`.
    y_true : array-like of int, shape (n,)
        0 or 1, at least two of each.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    repeats : int
        Drawn sets, at least 20.
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    CourseError
        For bad labels or scores, fewer than two samples of a class, or too few repeats.

    References
    ----------
    Efron & Tibshirani, "An introduction to the bootstrap", Chapman & Hall 1993, chapter 13
    """
    labels, positive = positive_scores(y_true, scores)
    repeats, seed = whole_number("repeats", repeats, 20), whole_number("seed", seed, 0)
    classes = [positive[labels == k] for k in (0, 1)]
    if min(map(len, classes)) < 2:
        raise CourseError("y_true holds one sample of a class; drawing again needs two or more of each.")
    drawn_labels = np.sort(labels)
    interval = stats.bootstrap(
        classes, lambda *drawn: metric(drawn_labels, np.concatenate(drawn)), n_resamples=repeats,
        vectorized=False, method="percentile", rng=seed,
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)
