"""Whether probabilities mean what they say: calibration error and temperature scaling.

References
----------
Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks", ICML,
https://arxiv.org/abs/1706.04599
"""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import class_probabilities, positive_scores

BINS = 10  # equal intervals between 0 and 1
# Probabilities of exactly 0 or 1 have no finite logit; these lie just outside the logits of all others in float64.
_LOGITS = (-746.0, 37.5)


def with_temperature(scores: ArrayLike, temperature: float) -> np.ndarray:
    """Divide the logits of two-class probabilities by a temperature; above 1 the probabilities come nearer to 0.5.

    Parameters
    ----------
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    temperature : float
        Above 0. The order of the scores stays, and so does every ROC curve, as far as float64 tells results apart.

    Returns
    -------
    ndarray of float64, shape (n,)
        Probabilities of class 1.
    """
    probabilities = class_probabilities(scores)
    if probabilities.shape[1] != 2:
        raise CourseError(f"scores hold {probabilities.shape[1]} classes; temperature scaling here accepts two.")
    if not (isinstance(temperature, Real) and np.isfinite(temperature) and temperature > 0):
        raise CourseError(f"temperature is {temperature!r}; accepted is a finite number above 0.")
    return expit(np.clip(logit(probabilities[:, 1]), *_LOGITS) / temperature)


def fit_temperature(y_true: ArrayLike, scores: ArrayLike) -> float:
    """Return the temperature between 0.05 and 20 with the smallest log loss, to be fitted on validation.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    """
    labels, positive = positive_scores(y_true, scores)

    def loss(log_temperature):
        return log_loss(labels, with_temperature(positive, np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def calibration_error(y_true: ArrayLike, scores: ArrayLike) -> float:
    """Return the expected calibration error over ten equal intervals of the predicted probability.

    It is the distance between mean prediction and observed share in each interval, weighted by the number of samples.

    Parameters
    ----------
    y_true, scores
        See `fit_temperature`.
    """
    labels, positive = positive_scores(y_true, scores)
    interval = np.minimum((positive * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(interval, positive - labels)).sum() / len(labels))
