"""Handwritten digits: 5,000 of MNIST, and the UCI digits at a quarter of its resolution."""

import gzip

import numpy as np
from sklearn.datasets import load_digits

from course_utils.data.assets import fetch
from course_utils.data.dataset import Card, DataSplit
from course_utils.data.splits import make_split

DIGIT_NAMES = tuple("0123456789")


def load_mnist(seed: int = 0) -> DataSplit:
    """Load 5,000 MNIST digits, 500 of each class.

    Parameters
    ----------
    seed : int
        Seed of the split into 3,000 training, 1,000 validation and 1,000 test digits.

    Returns
    -------
    DataSplit
        ``x`` uint8, 0 (paper) to 255 (ink), shape (n, 28, 28, 1).

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998), https://doi.org/10.1109/5.726791
    """
    with gzip.open(fetch("mnist"), "rb") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1)
    return make_split(images, table[:, -1], DIGIT_NAMES, Card.of_asset("mnist"), seed=seed)


def load_uci_digits(seed: int = 0) -> DataSplit:
    """Load the 1,797 UCI digits, about 180 of each class.

    Parameters
    ----------
    seed : int
        Seed of the split.

    Returns
    -------
    DataSplit
        ``x`` uint8, 0 (paper) to 255 (ink), shape (n, 8, 8, 1). The source counts 0 to 16 inked
        pixels in each block of 4 x 4; these counts are scaled to 0-255.

    References
    ----------
    Alpaydin & Kaynak (1998), https://doi.org/10.24432/C50P49
    """
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    return make_split(images, labels, DIGIT_NAMES, Card.of_asset("uci_digits"), seed=seed)
