"""What a loader returns: samples in three parts, the names of the classes, and a card."""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_utils.data.catalog import find_asset
from course_utils.errors import CourseError

PARTS = ("train", "validation", "test")


class Samples(NamedTuple):
    """Inputs and labels of one part: ``x, y = split.train``.

    Parameters
    ----------
    x : ndarray
        Images: uint8, 0-255, shape (n, height, width, channels). Texts: objects of type str, (n,).
    y : ndarray of int64, shape (n,)
        Class numbers.
    """

    x: np.ndarray
    y: np.ndarray


def checked_samples(images: np.ndarray, labels: np.ndarray, names: list[str], side: int, classes: tuple) -> Samples:
    """Return one part of a reader's file in the form that all data sets have; `names` tell in errors what is which.

    Accepted are images uint8 of shape (n, side, side), and labels (n,) or (n, 1), numbers of all the classes.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (side, side) or len(images) == 0:
        raise CourseError(
            f"{names[0]} must be bytes (uint8) of shape (n, {side}, {side}); got {images.dtype} {images.shape}."
        )
    if labels.shape not in {(len(images), 1), (len(images),)} or labels.dtype.kind not in "iu":
        raise CourseError(
            f"{names[1]} must be {len(images)} whole numbers, one an image; got {labels.dtype} {labels.shape}."
        )
    if (found := np.unique(labels).tolist()) != list(range(len(classes))):
        accepted = f"0 to {len(classes) - 1} ({', '.join(classes)})"
        raise CourseError(f"{names[1]} must hold every number from {accepted}, and no other; got {found[:5]}.")
    return Samples(images[..., None], labels.reshape(-1).astype(np.int64))


@dataclass(frozen=True)
class Card:
    """Where a data set comes from, under which licence, and whom to cite."""

    title: str
    source: str
    licence: str
    citation: str
    note: str = ""

    @classmethod
    def of_asset(cls, name: str, note: str = "") -> "Card":
        """Return the card of a data set of the catalog."""
        asset = find_asset(name)
        origin = asset.url or f"the package {asset.package} {asset.version}".rstrip()
        return cls(asset.title, f"{asset.about} From {origin}.", asset.licence, asset.citation, note)


@dataclass(frozen=True, eq=False, repr=False)
class DataSplit:
    """A data set in three parts, with the names of its classes and its card."""

    train: Samples
    validation: Samples
    test: Samples
    class_names: tuple[str, ...]
    card: Card

    def counts(self) -> pd.DataFrame:
        """Return how many samples of each class (rows) each part (columns) holds."""
        columns = {part: np.bincount(getattr(self, part).y, minlength=len(self.class_names)) for part in PARTS}
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, part).y)} {part}" for part in PARTS)
        return f"{self.card.title}: {sizes}; {len(self.class_names)} classes; licence: {self.card.licence}"

    def _repr_html_(self) -> str:
        card = self.card
        lines = [card.source, f"Licence: {card.licence}", card.citation, card.note]
        text = "<br>".join(escape(line) for line in lines if line)
        return f"<b>{escape(card.title)}</b><br>{text}{self.counts().to_html()}"
