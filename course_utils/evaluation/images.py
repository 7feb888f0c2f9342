"""Look at the data itself: grids of images, and features in the plane."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import as_floats, names_of_classes, true_labels
from course_utils.evaluation.style import MARKERS, PALETTE


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
    if len(images) == 0 or columns < 1:
        raise CourseError(f"{len(images)} images in {columns} columns; accepted are one or more of both.")
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


def plot_embedding(
    features: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None = None,
    method: str = "t-SNE",
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw features in the plane, one colour and marker a class.

    Parameters
    ----------
    features : array-like of shape (n, d)
    labels : array-like of int, shape (n,)
    class_names : sequence of str, optional
        One name for each of the classes 0 .. k - 1.
    method : {"t-SNE", "PCA"}
        t-SNE keeps neighbourhoods, and its distances between groups mean little; PCA is linear.
    seed : int
        For t-SNE.
    ax : Axes, optional

    References
    ----------
    van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 9 (2008),
    https://jmlr.org/papers/v9/vandermaaten08a.html
    """
    features = as_floats(features, "features")
    if features.ndim != 2 or min(features.shape) < 2 or len(features) < 4 or not np.isfinite(features).all():
        raise CourseError(f"features have shape {features.shape}; accepted are finite values, (n >= 4, d >= 2).")
    labels = true_labels(labels, len(features), None if class_names is None else len(class_names))
    names = names_of_classes(class_names, labels.max() + 1 if class_names is None else len(class_names))
    plane = _projected(features, method, seed)
    ax = plt.subplots(figsize=(8, 6))[1] if ax is None else ax
    for index in np.unique(labels):
        colour, marker = index % len(PALETTE), (index + index // len(PALETTE)) % len(MARKERS)
        ax.scatter(
            *plane[labels == index].T, s=42, color=PALETTE[colour], marker=MARKERS[marker],
            alpha=0.8, edgecolor="white", linewidth=0.5, label=names[index],
        )  # fmt: skip
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.3, handletextpad=0.2)
    ax.set(title=f"Features in the plane ({method})", xlabel="", ylabel="", xticks=[], yticks=[])
    seaborn.despine(ax=ax, left=True, bottom=True)
    return ax


def _projected(features: np.ndarray, method: str, seed: int) -> np.ndarray:
    if method not in ("PCA", "t-SNE"):
        raise CourseError(f"method is {method!r}; accepted are 't-SNE' and 'PCA'.")
    # The paper of t-SNE reduces to at most 50 dimensions first; perplexity must be below the number of points.
    reduced = PCA(2 if method == "PCA" else min(50, *features.shape), svd_solver="full").fit_transform(features)
    if method == "PCA":
        return reduced
    # Its many short parallel loops crawl when cores are shared (up to 90x slower); one thread gives the same map.
    with threadpool_limits(1, "openmp"):
        return TSNE(perplexity=min(30, (len(features) - 1) / 3), random_state=seed).fit_transform(reduced)
