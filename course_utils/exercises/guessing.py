"""What guessing reaches: the same predictions in random order."""

import numpy as np

ORDERS, QUANTILE = 1000, 0.99


def limit_of_guessing(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy that these predictions in random order exceed in one of a hundred cases.

    Parameters
    ----------
    labels, predicted : array of int, shape (n,)
        Class numbers; each class has a label.

    Returns
    -------
    float
        At least one over the number of classes.
    """
    counts, random = np.bincount(labels), np.random.default_rng(0)
    share = 1 / (len(counts) * counts[labels])  # of each sample in the balanced accuracy
    reached = [share[labels == random.permutation(predicted)].sum() for _ in range(ORDERS)]
    return max(1 / len(counts), float(np.quantile(reached, QUANTILE)))
