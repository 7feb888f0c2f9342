"""Drawn pictograms of eight classes: unlike any photo of ImageNet, and quick to have offline."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from course_utils.data.assets import fetch
from course_utils.data.dataset import Card, DataSplit
from course_utils.data.splits import make_split
from course_utils.errors import whole_number

# Code points of the font, as hexadecimal numbers and inclusive ranges. They follow the groups of
# the Unicode emoji list; those from E000 on are OpenMoji's own. Left out are cat faces, which are
# animal and face at once, parts of animals, and tools for the table.
CODE_POINTS = {
    "animal": "1F400-1F43C 1F43F 1F54A 1F577 1F648-1F64A 1F980-1F99F 1F9A1-1F9AE 1FAB0-1FAB3 1FABC"
    " 1FABF 1FACD-1FACF E000-E001 E003-E004 E006-E009 E010",
    "building": "26E9-26EA 1F3D8 1F3DA-1F3DB 1F3DF-1F3E6 1F3E8-1F3ED 1F3EF-1F3F0 1F492 1F54B-1F54D"
    " 1F5FC 1F6D5-1F6D6 E092-E093 E203 E205 E208-E20A E20C E20F E211-E213 E215",
    "clothing": "26D1 1F392-1F393 1F3A9 1F3BD 1F451-1F462 1F576 1F94B 1F97B-1F97F 1F9BA 1F9E2-1F9E6 1FA70-1FA74 1FA96",
    "face": "263A 1F600-1F637 1F641-1F644 1F910-1F917 1F920-1F925 1F927-1F92F 1F970-1F976"
    " 1F978-1F97A 1F9D0 1FAE0-1FAE5 1FAE8-1FAEA",
    "food": "2615 1F32D-1F32F 1F336 1F345-1F373 1F375-1F37B 1F37F 1F382 1F942-1F943 1F950-1F961"
    " 1F963-1F96B 1F96D-1F96F 1F9C0-1F9CB 1FAD0-1FAD5 1FAD8 1FADA-1FADC E0C0-E0CA",
    "plant": "2618 1F330-1F335 1F337-1F344 1F384 1F38B 1F38D 1F3F5 1F490 1F4AE 1F940 1F96C 1FAB4"
    " 1FAB7 1FABB 1FABE E002",
    "sport and music": "26BD-26BE 26F3 26F8 1F399 1F3A4 1F3A7 1F3B1 1F3B3 1F3B7-1F3BB 1F3BE-1F3C0"
    " 1F3C8-1F3C9 1F3CF-1F3D3 1F3F8-1F3F9 1F93F 1F941 1F945 1F94A 1F94C-1F94F 1FA87-1FA8A 1FA95"
    " 1FA97-1FA98",
    "vehicle": "26F4-26F5 2708 1F3CD-1F3CE 1F680-1F688 1F68A-1F68E 1F690-1F6A4 1F6B2 1F6E5 1F6E9"
    " 1F6EB-1F6EC 1F6F3-1F6F6 1F6F8 1F6FA-1F6FB 1F9BC-1F9BD",
}
EM_OF_DRAWING = 0.76  # font size at which the widest drawing fills a square of side 1


def load_openmoji(size: int = 128, seed: int = 0) -> DataSplit:
    """Load some 570 OpenMoji pictograms of eight classes, drawn on white and centred.

    Parameters
    ----------
    size : int
        Side of the images in pixels, at least 16.
    seed : int
        Seed of the split.

    Returns
    -------
    DataSplit
        ``x`` uint8 RGB, 0-255, shape (n, size, size, 3). The training part holds at least 20
        images of each class.

    References
    ----------
    OpenMoji, https://openmoji.org, CC BY-SA 4.0: name it wherever the images are shown.
    """
    points = [expand_ranges(ranges) for ranges in CODE_POINTS.values()]
    images = draw_pictograms([point for group in points for point in group], size)
    labels = np.repeat(np.arange(len(points)), [len(group) for group in points])
    return make_split(images, labels, tuple(CODE_POINTS), Card.of_asset("openmoji"), seed=seed)


def draw_pictograms(points: list[int], size: int) -> np.ndarray:
    """Draw the pictograms of some code points in colour on white, centred.

    Parameters
    ----------
    points : list of int
        Unicode code points that the font has.
    size : int
        Side of the images in pixels, at least 16.

    Returns
    -------
    ndarray of uint8, shape (n, size, size, 3)

    Raises
    ------
    CourseError
        If the size is no whole number of at least 16.
    """
    size = whole_number("size", size, 16)
    font = ImageFont.truetype(fetch("openmoji"), round(EM_OF_DRAWING * size), layout_engine=ImageFont.Layout.BASIC)
    return np.stack([_draw(chr(point), font, size) for point in points])


def expand_ranges(ranges: str) -> list[int]:
    """Return the numbers that a string such as ``"1F400-1F43C 1F43F"`` stands for."""
    numbers = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first, 16), int(last or first, 16) + 1))
    return numbers


def _draw(character: str, font: ImageFont.FreeTypeFont, size: int) -> np.ndarray:
    """Draw a character in its colours; the middle of the ink becomes the middle of the image."""
    canvas = Image.new("RGB", (2 * size, 2 * size), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((size // 2, size // 2), character, font=font, fill="black", embedded_color=True)
    left, top, right, bottom = ImageOps.invert(canvas).getbbox()
    left, top = (left + right - size) // 2, (top + bottom - size) // 2
    return np.asarray(canvas.crop((left, top, left + size, top + size)))
