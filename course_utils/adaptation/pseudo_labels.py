"""Self-training: confident predictions on the target become its labels, over several rounds."""

import numpy as np
from scipy.special import logsumexp

from course_utils.errors import CourseError


def confident(logits: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the most confident predictions of each predicted class, and all predictions.

    Parameters
    ----------
    logits : ndarray of shape (n, k), finite
    share : float
        How much of each predicted class to keep, above 0 and at most 1. A threshold on probability would drop
        the hard classes; a share of each keeps all classes.

    Returns
    -------
    rows : ndarray of int, sorted
    labels : ndarray of int64, shape (n,)

    Raises
    ------
    CourseError
        If the share is outside its range, or the logits are no such array.

    References
    ----------
    Zou, Yu, Kumar & Wang (2018), https://arxiv.org/abs/1810.07911
    """
    if not 0 < share <= 1:
        raise CourseError(f"share={share} is impossible: give a number above 0 and at most 1.")
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or logits.size == 0 or not np.isfinite(logits).all():
        raise CourseError(f"The logits, of shape {logits.shape}, must be finite numbers of shape (n, k).")
    labels = logits.argmax(axis=1)
    others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits)
    confidence = logits.max(axis=1) - logsumexp(
        others, axis=1
    )  # the log odds: where probabilities round to 1, they differ
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept = max(1, int(np.ceil(share * len(members) - 1e-9)))  # 0.07 * 100 is 7.000000000000001
        rows.append(members[np.argsort(-confidence[members], kind="stable")[:kept]])
    return np.sort(np.concatenate(rows)), labels
