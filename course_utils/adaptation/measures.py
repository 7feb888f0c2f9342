"""How far apart two domains are, and how much of the gap an adaptation closes."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_utils.errors import CourseError, as_floats


def domain_accuracy(source: np.ndarray, target: np.ndarray) -> float:
    """Return how often a linear probe names the domain of features it was not fitted on (two folds).

    Parameters
    ----------
    source, target : ndarray of shape (n, d) and (m, d)

    Returns
    -------
    float
        Balanced over the domains: 0.5 is guessing, 1.0 is always.

    Raises
    ------
    CourseError
        If the features have different widths or are not finite, or a domain has fewer than two rows.

    References
    ----------
    Alain & Bengio (2017), https://arxiv.org/abs/1610.01644
    """
    for features in (source, target):
        as_floats(features, "The features")
    source, target = np.asarray(source), np.asarray(target)
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1] or min(len(source), len(target)) < 2:
        raise CourseError(
            f"Features have shapes {source.shape} and {target.shape}; accepted are two or more rows of one width each."
        )
    features = np.concatenate([source, target])
    domains = np.repeat([0, 1], [len(source), len(target)])
    order = np.random.default_rng(0).permutation(len(features))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200, class_weight="balanced"))
    return cross_val_score(probe, features[order], domains[order], cv=2, scoring="balanced_accuracy").mean()


def proxy_a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """Return 2 (1 - 2 e), where e is the error of the domain probe: 0 for one distribution, 2 for two apart.

    Parameters
    ----------
    source, target : ndarray of shape (n, d) and (m, d)

    References
    ----------
    Ben-David, Blitzer, Crammer & Pereira (2007),
    https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation
    """
    error = 1 - domain_accuracy(source, target)
    return 2 * (1 - 2 * min(error, 0.5))


def gap_closed(accuracy: float, source_only: float, target_trained: float) -> float:
    """Return which share of the way from the source-only model to the one trained on target labels was made.

    Raises
    ------
    CourseError
        If the two accuracies are equal (in one place, where arrays are given) or one is not finite.
    """
    if np.result_type(*map(np.asarray, (accuracy, source_only, target_trained))).kind not in "biuf":
        raise CourseError(f"{accuracy!r}, {source_only!r} and {target_trained!r} are not all numbers; give accuracies.")
    gap = np.subtract(target_trained, source_only)
    if not (np.isfinite(gap) & (gap != 0)).all():
        raise CourseError(f"From {source_only} to {target_trained} there is no gap to close; give two accuracies.")
    return (accuracy - source_only) / gap
