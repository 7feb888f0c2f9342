"""Names and categories of emoji, by code point, as Unicode lists them."""

import json
import re
from typing import NamedTuple

from course_utils.data.assets import fetch

LEFT_OUT = {"Component", "Flags"}  # skin colours; five flags that are one code point


class Emoji(NamedTuple):
    """An emoji of one code point: ``Emoji(0x1F98A, "fox-face", "Animals & Nature", "animal-mammal")``."""

    point: int
    name: str
    category: str
    subcategory: str


def load_emoji_names() -> list[Emoji]:
    """Return the emoji that are one code point each, of the eight large categories of Unicode.

    Returns
    -------
    list of Emoji
        1,372 in the order of their code points; names are made of a-z, 0-9 and hyphens.
    """
    rows = json.loads(fetch("emoji_names").read_text(encoding="utf-8"))
    emoji = []
    for row in rows:
        points = row["unified"].removesuffix("-FE0F")  # FE0F asks for the coloured form
        if "-" not in points and row["category"] not in LEFT_OUT:
            name = re.sub("[^a-z0-9]+", "-", row["name"].lower()).strip("-")
            emoji.append(Emoji(int(points, 16), name, row["category"], row["subcategory"]))
    return sorted(emoji)
