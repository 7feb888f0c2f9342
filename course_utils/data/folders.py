"""The reader's own images: a directory with one subfolder for each class."""

from pathlib import Path

import numpy as np
import pandas as pd

from course_utils.data.dataset import Card, DataSplit
from course_utils.data.photos import middle_square
from course_utils.data.splits import make_split
from course_utils.errors import CourseError, whole_number

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def load_image_folder(directory: str | Path, size: int = 128, seed: int = 0) -> DataSplit:
    """Load images from a directory with one subfolder for each class, named as the class.

    Hidden files, and files without the suffix of an image format, are passed over.

    Parameters
    ----------
    directory : str or pathlib.Path
        For example ``my_images`` with ``my_images/cat/1.jpg``, ``my_images/dog/7.png``.
    size : int
        Side of the squares in pixels: the shorter side of each image is resized to it and the
        middle square cut out.
    seed : int
        Seed of the split.

    Returns
    -------
    DataSplit
        ``x`` uint8 RGB, 0-255, shape (n, size, size, 3); classes in alphabetical order.

    Raises
    ------
    CourseError
        If the directory is missing, holds fewer than two classes, or a class is empty, has fewer
        than five images or one that cannot be read.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CourseError(f"There is no directory {directory}; give one with a subfolder a class.")
    size = whole_number("size", size)
    classes = sorted(path for path in directory.iterdir() if path.is_dir() and _is_visible(path))
    if len(classes) < 2:
        raise CourseError(
            f"The directory {directory} has {len(classes)} subfolders; at least two classes, each"
            " in a subfolder of its own, are needed."
        )
    files_of = {folder.name: _image_files(folder) for folder in classes}
    images = [middle_square(file, size) for files in files_of.values() for file in files]
    labels = np.repeat(np.arange(len(files_of)), [len(files) for files in files_of.values()])
    card = Card(f"Images of {directory.name}", f"Folder {directory}", licence="that of the images", citation="")
    copies = pd.factorize(pd.Series([image.tobytes() for image in images]))[0]
    groups = copies if len(np.unique(copies)) < len(copies) else None  # copies of one image stay in one part
    return make_split(np.stack(images), labels, tuple(files_of), card, groups, seed)


def _image_files(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if path.is_file() and _is_visible(path))
    files = sorted(path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise CourseError(f"The folder {folder} holds no image; accepted are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return files


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")
