"""Handwritten digits: 5,000 of MNIST, the UCI digits at a quarter of its resolution, and the reader's USPS."""

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from course_utils.data.assets import fetch
from course_utils.data.dataset import Card, DataSplit, Samples, checked_samples
from course_utils.data.splits import make_split
from course_utils.errors import CourseError, whole_number
from course_utils.whole_file import read_arrays

DIGIT_NAMES = tuple("0123456789")


def load_mnist(seed: int = 0) -> DataSplit:
    """Load 5,000 MNIST digits, 500 of each class: 3,000 to train, 1,000 to validate and 1,000 to test, by `seed`.

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
    """Load the 1,797 UCI digits, about 180 of each class, split by `seed`.

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


def load_usps(path: str | Path, seed: int = 0) -> DataSplit:
    """Load the USPS digits from a file that the reader has.

    Parameters
    ----------
    path : str or pathlib.Path
        An ``.npz`` file with ``x_train``, ``x_test``, uint8 of shape (n, 16, 16), and ``y_train``, ``y_test``.
    seed : int
        A quarter of the training digits, drawn with this seed, become the validation part.

    Returns
    -------
    DataSplit
        ``x`` uint8, 0 (paper) to 255 (ink), shape (n, 16, 16, 1); the test part is the published one.

    Raises
    ------
    CourseError
        If the file is missing or holds something else.

    References
    ----------
    Hull (1994), https://doi.org/10.1109/34.291440
    """
    seed = whole_number("seed", seed, 0)
    train, test = (_usps_part(Path(path), part) for part in ("train", "test"))
    order = np.random.default_rng(seed).permutation(len(train.y))
    cut = len(order) // 4
    validation, rest = (Samples(train.x[rows], train.y[rows]) for rows in (order[:cut], order[cut:]))
    card = Card("USPS", "Digits from envelopes, 16 by 16 pixels.", "not stated", "Hull (1994), IEEE TPAMI 16(5).")
    return DataSplit(rest, validation, test, DIGIT_NAMES, card)


def _usps_part(path: Path, part: str) -> Samples:
    """Read one part of the file of USPS."""
    names = [f"x_{part}", f"y_{part}"]
    arrays = read_arrays(path, names)
    if arrays is None:
        raise CourseError(f"{path} is not the file of USPS: give an npz file with x_train, y_train, x_test and y_test.")
    return checked_samples(*arrays, names, 16, DIGIT_NAMES)
