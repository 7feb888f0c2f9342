"""Pretrained networks of the registry: each takes raw pixels 0-255 and holds its own preprocessing."""

import os
from functools import partial
from pathlib import Path

import keras

from course_utils.data.assets import fetch
from course_utils.errors import CourseError, whole_number
from course_utils.models.efficientnet_lite import build_efficientnet_lite
from course_utils.models.mobilenet_v2 import build_mobilenet_v2
from course_utils.models.preprocessing import ApplicationPreprocessing
from course_utils.zoo.registry import BACKBONES, Backbone, find_backbone

# What builds a carried network, from (input_size, checkpoint), by the name of its weights in the catalog.
BUILDERS = {"mobilenet_v2": build_mobilenet_v2}
BUILDERS |= {f"efficientnet_lite{variant}": partial(build_efficientnet_lite, variant) for variant in range(3)}

FAILED_DOWNLOADS = "URL fetch failure", "Incomplete or corrupted file"
KEPT_WEIGHTS = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models")


def load_backbone(
    name: str = "EfficientNetLite0",
    *,
    input_size: int | None = None,
    weights: str | None = "imagenet",
    include_top: bool = False,
) -> keras.Model:
    """Load a pretrained network that takes raw pixels.

    Parameters
    ----------
    name : str
        A key of `registry.BACKBONES`.
    input_size : int, optional
        Height and width of the images in pixels; by default the size of its training.
    weights : {"imagenet", None}
        None gives random weights: the control of an experiment.
    include_top : bool
        Keep the ImageNet head; then the input has the size of its training.

    Returns
    -------
    keras.Model
        Flat functional model from pixels 0-255 (n, size, size, 3) to pooled features (n, d), or to
        1000 probabilities with `include_top`.

    Raises
    ------
    CourseError
        If name, size, weights and head do not go together, or the weights cannot be had.
    """
    backbone = find_backbone(name)
    if weights not in ("imagenet", None):
        raise CourseError(f"weights={weights!r} is unknown: accepted are 'imagenet' and None (random).")
    size = check_input_size(backbone, input_size, include_top)
    if not backbone.carried:
        return _load_application(backbone, size, weights, include_top)
    model = BUILDERS[backbone.asset](size, fetch(backbone.asset) if weights else None)
    if include_top or not backbone.has_head:
        return model
    return keras.Model(model.input, model.get_layer("pool").output, name=backbone.name)


def check_input_size(backbone: Backbone, input_size: int | None, include_top: bool) -> int:
    """Return the height and width to build at, in pixels."""
    size = whole_number(
        "input_size", backbone.input_size if input_size is None else input_size, backbone.smallest_input
    )
    if include_top and not backbone.has_head:
        raise CourseError(f"The weights of {backbone.name} have no ImageNet head: use include_top=False.")
    if include_top and size != backbone.input_size:
        raise CourseError(
            f"The ImageNet head of {backbone.name} goes with input_size={backbone.input_size}, not with {size}."
        )
    return size


def _load_application(backbone: Backbone, size: int, weights: str | None, include_top: bool) -> keras.Model:
    """Build a network of `keras.applications` on top of its preprocessing."""
    inputs = keras.Input((size, size, 3), name="pixels")
    try:
        network = getattr(keras.applications, backbone.name)(
            include_top=include_top,
            weights=weights,
            input_tensor=ApplicationPreprocessing(backbone.module, name="preprocessing")(inputs),
            input_shape=(size, size, 3),
            pooling=None if include_top else "avg",
        )
    # Keras raises a bare Exception when a download fails, an OSError when it breaks off or its file cannot be read,
    # and a ValueError when the file is not the one that it knows.
    except Exception as error:
        if isinstance(error, OSError) or any(text in str(error) for text in FAILED_DOWNLOADS):
            raise CourseError(
                f"The weights of {backbone.name} could not be downloaded or read: connect to the internet, "
                f"remove a damaged file from {KEPT_WEIGHTS}, or take a carried network "
                f"({', '.join(entry.name for entry in BACKBONES.values() if entry.carried)})."
            ) from error
        raise
    # Keras makes a list of the one input and would warn at every call with a plain array.
    return keras.Model(inputs, network.output, name=backbone.name)
