"""Choose which layers of a pretrained network train: by depth from the top, or from a block on."""

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real

import keras
from keras import layers

from course_utils.errors import CourseError


@dataclass(frozen=True)
class Training:
    """What trains after `unfreeze`.

    Attributes
    ----------
    trainable, total : int
        Numbers of parameters; the moving statistics of BatchNormalization count to the total only.
    layers : tuple of str
        Names of the layers that train, from the bottom to the top.
    """

    trainable: int
    total: int
    layers: tuple[str, ...]

    def __str__(self) -> str:
        share = f"{self.trainable:,} of {self.total:,} parameters train ({self.trainable / self.total:.0%})"
        return f"{share}, from {self.layers[0]} up" if self.layers else share


def unfreeze(backbone: keras.Model, depth: int | float | str, *, batch_norm: bool = False) -> Training:
    """Let the upper part of a backbone train and freeze all the rest; compile the model afterwards.

    Depth counts layers with weights from the top. BatchNormalization is not counted: it goes with the
    layer below it, and stays frozen, weights and statistics, unless `batch_norm` is given.

    Parameters
    ----------
    backbone : keras.Model
        Flat functional model.
    depth : int, float or str
        A number of layers (0 freezes everything), a share of the layers from 0.0 to 1.0, or the
        name of the lowest block or layer that trains, such as ``"block6a"``.
    batch_norm : bool
        Let the BatchNormalization layers of the upper part train too.

    Returns
    -------
    Training
        How many parameters train, and in which layers.

    Raises
    ------
    CourseError
        If the model is not flat, or has no such depth or block.

    References
    ----------
    Yosinski, Clune, Bengio & Lipson (2014), https://arxiv.org/abs/1411.1792
    """
    counted = counted_layers(backbone)
    lowest = first_layer(backbone, depth) if isinstance(depth, str) else layer_at(counted, depth, backbone.name)
    backbone.trainable = True  # a frozen model would hide the flags of its layers
    above = False
    for layer in backbone.layers:
        above = above or layer is lowest
        layer.trainable = above and (batch_norm or not isinstance(layer, layers.BatchNormalization))
    training = tuple(layer.name for layer in backbone.layers if layer.trainable_weights)
    trainable = sum(math.prod(weight.shape) for weight in backbone.trainable_weights)
    return Training(trainable, backbone.count_params(), training)


def counted_layers(backbone: keras.Model) -> list[keras.Layer]:
    """Return the layers with weights other than BatchNormalization, from the bottom to the top."""
    if not isinstance(backbone, keras.Model):
        raise CourseError(f"unfreeze takes a flat functional keras.Model; got {type(backbone).__name__}.")
    nested = [layer.name for layer in backbone.layers if isinstance(layer, keras.Model)]
    if nested:
        raise CourseError(
            f"{backbone.name} holds the model {nested[0]!r} as one layer: "
            "give that inner model, whose layers can be frozen one by one."
        )
    counted = [layer for layer in backbone.layers if layer.weights and not isinstance(layer, layers.BatchNormalization)]
    if not counted:
        raise CourseError(f"{backbone.name} has no layer with weights; there is nothing to freeze.")
    return counted


def layer_at(counted: list[keras.Layer], depth: int | float, name: str) -> keras.Layer | None:
    """Return the lowest layer that trains when `depth` layers, or that share of them, do; None for none."""
    count, whole = len(counted), isinstance(depth, Integral)
    if isinstance(depth, bool) or not isinstance(depth, Real) or not 0 <= depth <= (count if whole else 1):
        raise CourseError(
            f"depth={depth!r} is impossible for {name}: give a number of layers from 0 to {count}, "
            "a share from 0.0 to 1.0, or the name of a block."
        )
    number = int(depth) if whole else round(depth * count)
    return counted[count - number] if number else None


def first_layer(backbone: keras.Model, block: str) -> keras.Layer:
    """Return the lowest layer of a block: named as the block, perhaps with a letter, and if it goes on, after a "_"."""
    pattern = re.compile(rf"{re.escape(block)}[a-z]?(_|$)")
    of_block = [layer for layer in backbone.layers if block and pattern.match(layer.name)]
    if any(layer.weights for layer in of_block):
        return of_block[0]
    names = dict.fromkeys(part for layer in backbone.layers for part in (layer.name.split("_")[0], layer.name))
    near = get_close_matches(block, names, n=3) or list(names)[-3:]
    raise CourseError(f"{backbone.name} has no block or layer {block!r}: there are {', '.join(near)} and others.")
