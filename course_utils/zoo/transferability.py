"""How well will a network transfer? Scores of its features on the target's samples, without training.

References
----------
You, Liu, Wang and Long (2021), "LogME: practical assessment of pre-trained models for transfer learning", ICML,
https://arxiv.org/abs/2102.11005
MacKay (1992), "Bayesian interpolation", Neural Computation 4, https://doi.org/10.1162/neco.1992.4.3.415
Bao et al. (2019), "An information-theoretic approach to transferability in task transfer learning", ICIP,
https://doi.org/10.1109/ICIP.2019.8803726
"""

import numpy as np

from course_utils.data.splits import checked_labels
from course_utils.errors import CourseError, as_floats

# Ratios of prior to noise precision that are tried; features have the length one.
RATIOS = np.logspace(-4, 4, 81)


def log_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the logarithm of the maximum evidence for a linear head, per degree of freedom and class.

    Centring leaves one degree of freedom less than there are samples.

    Parameters
    ----------
    features, labels : ndarray of shape (n, d), ndarray of int of shape (n,)

    Returns
    -------
    float
        Larger is better; compare networks on the same samples only.
    """
    x, targets = prepared(features, labels)
    eigenvalues, directions = np.linalg.eigh(x @ x.T)
    shares = (directions.T @ targets) ** 2  # of each target (column) along each direction (row)
    stretched = 1 + np.maximum(eigenvalues, 0) / RATIOS[:, None]  # a row for each ratio
    misfit = (1 / stretched) @ shares
    n = len(x) - 1  # centring has used up one
    evidence = -n / 2 * (np.log(2 * np.pi * misfit / n) + 1) - np.log(stretched).sum(axis=1, keepdims=True) / 2
    return float(evidence.max(axis=0).mean() / n)


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return how much of the features' spread lies between the classes: tr(cov(x)^-1 cov(E[x | class])).

    As in `log_evidence`, x are the features after each row was brought to length one, which the paper does not do.
    With the singular vectors U of x, this is the sum over classes of the squared length of U^T y, divided by
    the number of members, where y marks the members of the class.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    labels : ndarray of int, shape (n,)
        At least two classes.

    Returns
    -------
    float
        Between 0 and the number of classes less one.
    """
    x, targets = prepared(features, labels)
    left, sizes, _ = np.linalg.svd(x, full_matrices=False)
    left = left[:, sizes > sizes[0] * max(x.shape) * np.finfo(float).eps]
    members = (targets > 0).sum(axis=0)
    return float((((left.T @ targets) ** 2).sum(axis=0) / members).sum())


def prepared(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring features to length one and centre them; write labels as one centred column a class."""
    features, labels = as_floats(features, "The features"), checked_labels(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or features.size == 0:
        raise CourseError(
            f"Features {features.shape} and labels {labels.shape} do not fit: accepted are (n, d) and (n,)."
        )
    classes = np.unique(labels)
    if len(classes) < 2 or len(classes) == len(labels):
        raise CourseError(
            f"There are {len(classes)} classes among {len(labels)} samples: a score needs two classes or more, "
            "and more than one sample of some."
        )
    x = features / np.maximum(np.abs(features).max(axis=1, keepdims=True), np.finfo(float).tiny)  # no square overflows
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny)
    targets = (labels[:, None] == classes).astype(float)
    return x - x.mean(axis=0), targets - targets.mean(axis=0)
