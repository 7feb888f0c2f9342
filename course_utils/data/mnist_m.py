"""MNIST-M: digits blended with patches of colour photos, built from what the course carries."""

from collections.abc import Iterator
from numbers import Integral
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from course_utils.data.catalog import find_asset
from course_utils.data.dataset import PARTS, Card, DataSplit, Samples
from course_utils.data.digits import load_mnist
from course_utils.data.image_folders import keep_folder
from course_utils.data.photos import load_imagenet_photos
from course_utils.errors import CourseError

OF_SKIMAGE = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
STRIPES = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}  # of the height of every photo
PHOTO_SIZE = 512  # side in pixels to which the ImageNet photos are cut


def load_mnist_m(seed: int = 0) -> DataSplit:
    """Blend each digit of `load_mnist` with a patch of a photo: |patch - digit|, channel by channel.

    The construction is the published one; the photos are 29 that come with installed packages, where the
    paper takes those of BSDS500. Every photo is cut into three stripes, and patches of the training,
    validation and test digits come from one stripe each: no two parts share a pixel of a photo.

    Parameters
    ----------
    seed : int
        Seed of the split of the digits, of the patches, and of the order of the images.

    Returns
    -------
    DataSplit
        ``x`` uint8 RGB, shape (n, 28, 28, 3); each part holds the digits of that part of
        ``load_mnist(seed)``, in another order.

    References
    ----------
    Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html, section 5.2.4;
    Arbeláez, Maire, Fowlkes & Malik (2011), https://doi.org/10.1109/TPAMI.2010.161
    """
    mnist, photos = load_mnist(seed), list(carried_photos())
    parts = []
    for number, part in enumerate(PARTS):
        digits, labels = getattr(mnist, part)
        random = np.random.default_rng([seed, number])
        stripes = [stripe(photo, part) for photo in photos]
        order = random.permutation(len(labels))
        parts.append(Samples(blend(digits[order], stripes, random), labels[order]))
    about = f"MNIST digits on patches of {len(photos)} photos, from scikit-image, scikit-learn and foolbox."
    licence = f"digits: {find_asset('mnist').licence}; photos: those of their packages"
    card = Card("MNIST-M, 5,000 digits", about, licence, find_asset("mnist").citation)
    return DataSplit(*parts, mnist.class_names, card)


def load_mnist_m_folder(per_class: int = 100, seed: int = 0) -> Path:
    """Write digits of `load_mnist_m` as PNG files into ``train``, ``validation`` and ``test``, once.

    Parameters
    ----------
    per_class : int
        Training images of each digit, 2 to 200; validation and test get half as many each.
    seed : int
        Seed of `load_mnist_m`.

    Returns
    -------
    pathlib.Path
        A folder in the cache, for example with ``train/7/0012.png``.

    Raises
    ------
    CourseError
        If `per_class` is no such number, or the disk does not take the files.
    """
    if isinstance(per_class, bool) or not isinstance(per_class, Integral) or not 2 <= per_class <= 200:
        raise CourseError(f"per_class must be a whole number from 2 to 200; got {per_class!r}.")

    def write(folder: Path) -> None:
        digits = load_mnist_m(seed)
        for part in PARTS:
            images, labels = getattr(digits, part)
            for label, name in enumerate(digits.class_names):
                (folder / part / name).mkdir(parents=True)
                for i in np.flatnonzero(labels == label)[: per_class if part == "train" else per_class // 2]:
                    Image.fromarray(images[i]).save(folder / part / name / f"{i:04d}.png")

    return keep_folder(f"mnist-m-{per_class}-{seed}", f"{find_asset('mnist').sha256} {per_class} {seed}", write)


def carried_photos() -> Iterator[np.ndarray]:
    """Yield the photos, uint8 RGB of shape (height, width, 3), in a fixed order."""
    for name in OF_SKIMAGE:
        yield getattr(skimage.data, name)()
    yield from load_sample_images().images
    yield from load_imagenet_photos(PHOTO_SIZE).x


def stripe(photo: np.ndarray, part: str) -> np.ndarray:
    """Return the rows of a photo that belong to one part of the data set."""
    first, last = (round(share * len(photo)) for share in STRIPES[part])
    return photo[first:last]


def blend(digits: np.ndarray, stripes: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Return |patch - digit| with a random patch for each digit.

    Parameters
    ----------
    digits : ndarray of uint8, shape (n, side, side, 1)
    stripes : list of ndarray of uint8, each (height, width, 3) and at least `side` high and wide
    random : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape (n, side, side, 3)
    """
    side = digits.shape[1]
    images = np.empty((*digits.shape[:3], 3), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        photo = stripes[random.integers(len(stripes))]
        top, left = (random.integers(extent - side + 1) for extent in photo.shape[:2])
        patch = photo[top : top + side, left : left + side].astype(np.int16)
        image[:] = np.abs(patch - digit)
    return images
