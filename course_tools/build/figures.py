"""Smaller figures: a stored notebook should open at once, also over a slow line."""

import base64
import io

from nbformat import NotebookNode
from PIL import Image

COLOURS = 256


def shrink_figures(outputs: list[NotebookNode]) -> None:
    """Reduce the PNG figures among a cell's outputs to a palette of 256 colours, where that saves bytes."""
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = base64.b64encode(_with_palette(base64.b64decode(data["image/png"]))).decode("ascii")


def _with_palette(png: bytes) -> bytes:
    shrunk = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")  # figures stand on opaque white
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(shrunk, "png", optimize=True)
    return min(png, shrunk.getvalue(), key=len)
