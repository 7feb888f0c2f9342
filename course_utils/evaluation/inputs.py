"""What evaluation accepts: probabilities of any shape, integer labels, names; all else is refused in one sentence."""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from course_utils.errors import CourseError, as_floats, plain_array

# Softmax in float16 sums to 1 within about this much.
_ROW_SUM_TOLERANCE = 2e-3


def class_probabilities(scores: ArrayLike) -> np.ndarray:
    """Bring the output of any classifier to one column a class.

    Parameters
    ----------
    scores : array-like of shape (n,), (n, 1) or (n, k)
        Probabilities. One column is the probability of class 1 (a sigmoid), k >= 2 columns hold
        one class each (a softmax).

    Returns
    -------
    ndarray of float64, shape (n, k), k >= 2
        Rows sum to 1; ``argmax(axis=1)`` of it is the predicted class (class 0 at exactly 0.5).

    Raises
    ------
    CourseError
        For another shape, no rows, NaN, values outside [0, 1] (logits) or rows that do not sum to 1.
    """
    scores = as_floats(scores, "scores")
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise CourseError(f"scores have shape {scores.shape}; accepted are (n,), (n, 1) and (n, classes) with n >= 1.")
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise CourseError(
            f"scores hold {scores[outside][0]:.4g}, outside [0, 1]; accepted are probabilities: "
            "apply a sigmoid or softmax to logits first."
        )
    if scores.ndim == 1 or scores.shape[1] == 1:
        # argmax over a single column would call everything class 0.
        positive = scores.reshape(-1)
        return np.stack([1 - positive, positive], axis=1)
    sums = scores.sum(axis=1)
    wrong = np.abs(sums - 1) > _ROW_SUM_TOLERANCE
    if wrong.any():
        raise CourseError(
            f"row {np.argmax(wrong)} of the scores sums to {sums[wrong][0]:.4g}; "
            "accepted are rows that sum to 1 (a softmax)."
        )
    return scores / sums[:, None]


def true_labels(y_true: ArrayLike, rows: int, classes: int | None = None) -> np.ndarray:
    """Return labels as int64, shape (rows,); refuse all but integers from 0 (to classes - 1), one a row."""
    labels = plain_array("The labels", y_true)
    if labels.ndim != 1:
        raise CourseError(
            f"The labels have shape {labels.shape}; accepted are integers of shape (n,): "
            "take y.argmax(axis=1) of one-hot labels, y[:, 0] of a single column."
        )
    if labels.dtype.kind not in "iu":
        raise CourseError(f"The labels are of type {labels.dtype}; accepted are integers from 0.")
    if len(labels) != rows:
        raise CourseError(f"There are {len(labels)} labels for {rows} rows; accepted is one label a row.")
    outside = (labels < 0) | (labels >= (np.inf if classes is None else classes))
    if outside.any():
        accepted = "integers from 0" if classes is None else f"0 to {classes - 1} for {classes} classes"
        raise CourseError(f"The labels hold {labels[outside][0]}; accepted are {accepted}.")
    return labels.astype(np.int64)


def names_of_classes(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """Return one name a class: the given ones, or "class 0", "class 1", ... for None."""
    if class_names is None:
        return [f"class {index}" for index in range(classes)]
    if isinstance(class_names, str) or len(class_names) != classes:
        raise CourseError(f"class_names is {class_names!r}; accepted are {classes} names, one a class, or None.")
    return [str(name) for name in class_names]


def positive_scores(y_true: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the probability of class 1 of a two-class problem in which both classes occur."""
    probabilities = class_probabilities(scores)
    if probabilities.shape[1] != 2:
        raise CourseError(f"scores hold {probabilities.shape[1]} classes; accepted are two.")
    labels = true_labels(y_true, *probabilities.shape)
    if len(np.unique(labels)) < 2:
        raise CourseError(f"y_true holds only class {labels[0]}; accepted are labels of both classes.")
    return labels, probabilities[:, 1]


def predicted_classes(probabilities: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Return the most probable class, or with a threshold class 1 where its probability is above it."""
    if threshold is None:
        return probabilities.argmax(axis=1)
    if probabilities.shape[1] != 2:
        raise CourseError(f"scores hold {probabilities.shape[1]} classes; a threshold goes with two.")
    if isinstance(threshold, bool) or not (isinstance(threshold, Real) and 0 <= threshold <= 1):
        raise CourseError(f"threshold is {threshold!r}; accepted is a probability from 0 to 1.")
    return (probabilities[:, 1] > threshold).astype(np.int64)
