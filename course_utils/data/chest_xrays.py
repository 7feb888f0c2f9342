"""Chest X-rays of children: pneumonia or normal, 28 by 28 pixels, in the official three parts."""

import os
from pathlib import Path

from course_utils.data.assets import fetch
from course_utils.data.dataset import Card, DataSplit, checked_samples
from course_utils.errors import CourseError
from course_utils.settings import ROOT
from course_utils.whole_file import read_arrays

CLASS_NAMES = ("normal", "pneumonia")
SIZE = 28  # pixels
VARIABLE = "COURSE_PNEUMONIA_MNIST"
PARTS_OF_FILE = ("train", "val", "test")
NOTE = (
    "The test part is the source's own; training and validation are its training set cut 9 to 1. The file does not"
    " say which images show the same child."
)


def load_chest_xrays(path: str | Path | None = None) -> DataSplit:
    """Load PneumoniaMNIST: 4,708 training, 524 validation and 624 test images.

    Parameters
    ----------
    path : str or pathlib.Path, optional
        A file `pneumoniamnist.npz`. Without it, the environment variable ``COURSE_PNEUMONIA_MNIST``
        names one; without that too, the official file is taken from the cache, or downloaded into it
        and verified.

    Returns
    -------
    DataSplit
        ``x`` uint8, 0 (air, black) to 255 (bone, white), shape (n, 28, 28, 1); classes "normal" and
        "pneumonia".

    Raises
    ------
    CourseError
        If there is no file and no network, or the file is not what it should be.

    References
    ----------
    Yang et al. (2023), https://doi.org/10.1038/s41597-022-01721-8, after Kermany et al. (2018),
    https://doi.org/10.1016/j.cell.2018.02.010
    """
    named = path or own_file()
    path = Path(named) if named else _official_file()
    if not path.is_file():
        raise CourseError(f"There is no file {path}; give the path of pneumoniamnist.npz.")
    names = [f"{part}_{content}" for part in PARTS_OF_FILE for content in ("images", "labels")]
    arrays = read_arrays(path, names)
    if arrays is None:
        raise CourseError(
            f"{path.name} cannot be read as an npz file with {', '.join(names)}; if it is cut short, fetch it again."
        )
    parts = [checked_samples(*arrays[i : i + 2], names[i : i + 2], SIZE, CLASS_NAMES) for i in (0, 2, 4)]
    return DataSplit(*parts, CLASS_NAMES, Card.of_asset("pneumonia_mnist", NOTE))


def own_file() -> Path | None:
    """Return the file that the variable ``COURSE_PNEUMONIA_MNIST`` names; a relative path begins at the checkout."""
    named = os.environ.get(VARIABLE)
    return ROOT / named if named else None


def _official_file() -> Path:
    try:
        return fetch("pneumonia_mnist")
    except CourseError as error:
        raise CourseError(
            f"{str(error).rstrip('.')}; or give a path of your own to load_chest_xrays or in the variable {VARIABLE}."
        ) from error
