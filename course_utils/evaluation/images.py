"""Look at the data itself: grids of images."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from course_utils.errors import CourseError, whole_number


def plot_images(images: Sequence[np.ndarray], titles: Sequence[str] | None = None, columns: int = 8) -> np.ndarray:
    """Draw a grid of images.

    Parameters
    ----------
    images : sequence of ndarray, each of shape (height, width), (height, width, 1) or (height, width, 3)
        uint8 from 0 to 255, or floats from 0 to 1. Sizes may differ.
    titles : sequence of str, optional
        One title an image.
    columns : int
        Images in a row.

    Returns
    -------
    ndarray of Axes, shape (rows, columns)
    """
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] in (1, 3):
        raise CourseError(
            f"The images have shape {images.shape}, that of a single one; accepted are several, or `[image]`."
        )
    columns = whole_number("columns", columns)
    if len(images) == 0:
        raise CourseError("There are 0 images; accepted are one or more.")
    if titles is not None and len(titles) != len(images):
        raise CourseError(f"{len(titles)} titles for {len(images)} images; accepted is one title an image, or None.")
    drawable = [_drawable(image) for image in images]
    columns = min(columns, len(drawable))
    rows = -(-len(drawable) // columns)
    side = max(1.25, min(2.4, 10 / columns))
    height = side + (0.35 if titles is not None else 0)
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, height * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for index, (ax, image) in enumerate(zip(axes.flat, drawable, strict=False)):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
        if titles is not None:
            ax.set_title(str(titles[index]), fontsize=12, fontweight="normal", loc="center")
    return axes


def _drawable(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.size == 0:
        raise CourseError(
            f"An image has shape {image.shape}; accepted are (height, width) with 1 or 3 channels or none."
        )
    if image.dtype != np.uint8 and not (image.dtype.kind == "f" and image.min() >= 0 and image.max() <= 1):
        raise CourseError(
            f"An image holds {image.dtype} from {image.min():.4g} to {image.max():.4g}; accepted are floats from 0 "
            "to 1, or uint8: turn pixels from 0 to 255 into the latter by .astype('uint8')."
        )
    return image
