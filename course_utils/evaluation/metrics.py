"""Scores of a classifier and intervals over seeds, by scikit-learn and SciPy."""

import numpy as np
import sklearn.metrics
from numpy.typing import ArrayLike
from scipy import stats

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import (
    as_floats,
    class_probabilities,
    positive_scores,
    predicted_classes,
    true_labels,
)


def mean_and_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the mean of repeated runs and half the width of its 95% confidence interval, by Student's t.

    Parameters
    ----------
    values : array-like of shape (n,)
        One result a run (for example a seed), n >= 2.

    Returns
    -------
    mean, half_width : float
        The interval is ``mean - half_width`` to ``mean + half_width``.

    Raises
    ------
    CourseError
        With fewer than two values, or values that are not finite numbers.
    """
    runs = _finite_runs(values)
    return float(runs.mean()), half_width(runs.std(ddof=1), runs.size)


def half_width(std: float, runs: int) -> float:
    """Return half the width of the 95% interval of a mean, from the standard deviation (n - 1) of `runs` values."""
    return float(stats.t.ppf(0.975, df=runs - 1) * std / np.sqrt(runs))


def confidence_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the two ends of the interval of `mean_and_interval`, as seaborn's ``errorbar`` wants them."""
    mean, half_width = mean_and_interval(values)
    return mean - half_width, mean + half_width


def mean_plus_minus(values: ArrayLike) -> str:
    """Return what `mean_and_interval` finds as text for a table, such as ``0.812 ± 0.034``; one run is its own mean."""
    if np.size(values) == 1:
        return f"{_finite_runs(np.ravel(values), 1)[0]:.3f}"
    return "{:.3f} ± {:.3f}".format(*mean_and_interval(values))


def prediction_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the interval that one more run hits with a probability of 99%: mean ± t s sqrt(1 + 1/n).

    Parameters, errors: see `mean_and_interval`; the runs are taken as normally distributed.

    References
    ----------
    Hahn & Meeker, "Statistical Intervals", Wiley 1991, https://doi.org/10.1002/9780470316771
    """
    runs = _finite_runs(values)
    reach = float(stats.t.ppf(0.995, df=runs.size - 1)) * runs.std(ddof=1) * np.sqrt(1 + 1 / runs.size)
    return float(runs.mean() - reach), float(runs.mean() + reach)


def classification_metrics(y_true: ArrayLike, scores: ArrayLike, threshold: float | None = None) -> dict[str, float]:
    """Return the usual scores of a classifier in one dictionary.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        Labels 0 .. k - 1; one-hot labels are refused.
    scores : array-like of shape (n,), (n, 1) or (n, k)
        Probabilities, see `class_probabilities`.
    threshold : float, optional
        Of two classes, class 1 is predicted where its probability is above it; 0.5 without.

    Returns
    -------
    dict of str to float
        accuracy, balanced_accuracy, macro_precision, macro_recall, macro_f1, log_loss (nats); for two classes
        also roc_auc, average_precision, sensitivity (recall of class 1) and specificity (recall of class 0).
        Macro averages weigh every class that occurs in `y_true` alike; the precision of a class that is never
        predicted counts as 0.

    Raises
    ------
    CourseError
        For bad labels or scores, and when only one of two classes occurs.
    """
    probabilities = class_probabilities(scores)
    labels = true_labels(y_true, *probabilities.shape)
    predicted = predicted_classes(probabilities, threshold)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    result = {
        "accuracy": sklearn.metrics.accuracy_score(labels, predicted),
        # The mean recall of the classes that occur: this is the definition of balanced accuracy.
        "balanced_accuracy": recall,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "log_loss": sklearn.metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
    }
    if probabilities.shape[1] == 2:
        labels, positive = positive_scores(labels, probabilities)
        result |= {
            "roc_auc": sklearn.metrics.roc_auc_score(labels, positive),
            "average_precision": sklearn.metrics.average_precision_score(labels, positive),
            "sensitivity": sklearn.metrics.recall_score(labels, predicted, pos_label=1),
            "specificity": sklearn.metrics.recall_score(labels, predicted, pos_label=0),
        }
    return {name: float(value) for name, value in result.items()}


def _finite_runs(values: ArrayLike, least: int = 2) -> np.ndarray:
    runs = as_floats(values, "values")
    if runs.ndim != 1 or runs.size < least:
        raise CourseError(f"values have shape {runs.shape}; a spread needs two or more runs in one dimension.")
    return runs
