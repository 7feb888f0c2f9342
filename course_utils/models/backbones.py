"""Pretrained networks by name: each takes raw pixels 0-255 and holds its own preprocessing."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from numbers import Integral

import keras

from course_utils.data.assets import fetch
from course_utils.models.efficientnet_lite import build_efficientnet_lite
from course_utils.models.mobilenet_v2 import build_mobilenet_v2
from course_utils.models.preprocessing import ApplicationPreprocessing
from course_utils.settings import CourseError

SMALLEST_INPUT = 32


@dataclass(frozen=True)
class Backbone:
    """What must be known of a network before it is built.

    Attributes
    ----------
    name : str
        Name to load it by; for a downloaded one also its name in `keras.applications`.
    input_size : int
        Height and width in pixels that it was trained at.
    module : str
        Module of `keras.applications` with its preprocessing; empty for a carried network.
    asset : str
        Name of its weights in the catalog; empty for a downloaded network.
    build : callable, optional
        Builds a carried network from (input_size, checkpoint).
    has_head : bool
        Whether the weights include the 1000 ImageNet classes.
    smallest_input : int
        Smallest height and width that its strides allow, in pixels.
    """

    name: str
    input_size: int
    module: str = ""
    asset: str = ""
    build: Callable[..., keras.Model] | None = None
    has_head: bool = True
    smallest_input: int = SMALLEST_INPUT

    @property
    def carried(self) -> bool:
        """Whether the weights come from a package index rather than from the download server of Keras."""
        return bool(self.asset)


CARRIED = [
    Backbone("EfficientNetLite0", 224, asset="efficientnet_lite0", build=partial(build_efficientnet_lite, 0)),
    Backbone("EfficientNetLite1", 240, asset="efficientnet_lite1", build=partial(build_efficientnet_lite, 1)),
    Backbone("EfficientNetLite2", 260, asset="efficientnet_lite2", build=partial(build_efficientnet_lite, 2)),
    Backbone("MobileNetV2Torch", 224, asset="mobilenet_v2", build=build_mobilenet_v2, has_head=False),
]
DOWNLOADED = [
    Backbone("ResNet50", 224, "resnet50"),
    Backbone("ResNet101", 224, "resnet"),
    Backbone("ResNet152", 224, "resnet"),
    Backbone("VGG16", 224, "vgg16"),
    Backbone("VGG19", 224, "vgg19"),
    Backbone("InceptionV3", 299, "inception_v3", smallest_input=75),
    Backbone("Xception", 299, "xception", smallest_input=71),
    Backbone("MobileNet", 224, "mobilenet"),
    Backbone("MobileNetV2", 224, "mobilenet_v2"),
    Backbone("DenseNet121", 224, "densenet"),
    Backbone("DenseNet169", 224, "densenet"),
    Backbone("DenseNet201", 224, "densenet"),
    Backbone("NASNetMobile", 224, "nasnet"),
    Backbone("NASNetLarge", 331, "nasnet"),
    Backbone("EfficientNetB0", 224, "efficientnet"),
    Backbone("EfficientNetB1", 240, "efficientnet"),
    Backbone("EfficientNetB3", 300, "efficientnet"),
    Backbone("EfficientNetB7", 600, "efficientnet"),
]
BACKBONES = {backbone.name: backbone for backbone in CARRIED + DOWNLOADED}


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
        A key of `BACKBONES`.
    input_size : int, optional
        Height and width of the pictures in pixels; by default the size of its training.
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
    model = backbone.build(size, fetch(backbone.asset) if weights else None)
    if include_top or not backbone.has_head:
        return model
    return keras.Model(model.input, model.get_layer("pool").output, name=backbone.name)


def find_backbone(name: str) -> Backbone:
    """Return the entry of `BACKBONES`; a wrong name answers with the nearest right ones."""
    if name in BACKBONES:
        return BACKBONES[name]
    lower_case = {key.lower(): key for key in BACKBONES}
    near = [lower_case[key] for key in get_close_matches(str(name).lower(), lower_case, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(BACKBONES)}."
    raise CourseError(f"There is no backbone {name!r}: {hint}")


def check_input_size(backbone: Backbone, input_size: int | None, include_top: bool) -> int:
    """Return the height and width to build at, in pixels."""
    size = backbone.input_size if input_size is None else input_size
    if isinstance(size, bool) or not isinstance(size, Integral) or size < backbone.smallest_input:
        raise CourseError(
            f"input_size={size!r} is impossible for {backbone.name}: "
            f"give one whole number of pixels, at least {backbone.smallest_input}."
        )
    if include_top and not backbone.has_head:
        raise CourseError(f"The weights of {backbone.name} have no ImageNet head: use include_top=False.")
    if include_top and size != backbone.input_size:
        raise CourseError(
            f"The ImageNet head of {backbone.name} goes with input_size={backbone.input_size}, not with {size}."
        )
    return int(size)


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
    # Keras raises a bare Exception when a download fails, and an OSError when it breaks off.
    except Exception as error:
        if isinstance(error, OSError) or "URL fetch failure" in str(error):
            raise CourseError(
                f"The weights of {backbone.name} could not be downloaded: connect to the internet, "
                f"or take a carried network ({', '.join(entry.name for entry in CARRIED)})."
            ) from error
        raise
    # Keras makes a list of the one input and would warn at every call with a plain array.
    return keras.Model(inputs, network.output, name=backbone.name)
