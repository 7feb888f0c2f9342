"""What a loader returns: samples in three parts, the names of the classes, and a card."""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_utils.data.catalog import find_asset

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
