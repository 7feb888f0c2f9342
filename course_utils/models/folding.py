"""Fold BatchNormalization into the convolution before it: the same function, computed in fewer steps.

At inference BatchNormalization is affine, gamma * (y - mean) / sqrt(variance + epsilon) + beta, and so is
the convolution y = w * x + b before it. Their composition is one convolution with

    w' = w * gamma / sqrt(variance + epsilon),    b' = (b - mean) * gamma / sqrt(variance + epsilon) + beta.

References
----------
Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR, section 3.2, https://arxiv.org/abs/1712.05877
"""

from collections import Counter

import keras
import numpy as np
from keras import layers

from course_utils.errors import CourseError


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Return a copy of a flat functional model with BatchNormalization folded into convolutions."""
    pairs = foldable_pairs(model)
    folded_away = {norm.name for norm in pairs.values()}

    def clone(layer):
        changes = {"use_bias": True} if layer.name in pairs else {}
        return layer.from_config(layer.get_config() | changes)

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in folded_away else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if layer.name in pairs:
            layer.set_weights(folded_weights(model.get_layer(layer.name), pairs[layer.name]))
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return folded


def folded_weights(convolution: keras.Layer, norm: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of the one convolution that does the work of both layers."""
    kernel, *rest = convolution.get_weights()
    bias = rest[0] if rest else 0.0
    mean, variance = np.array(norm.moving_mean), np.array(norm.moving_variance)
    gamma = np.array(norm.gamma) if norm.scale else 1.0
    beta = np.array(norm.beta) if norm.center else 0.0
    scale = gamma / np.sqrt(variance + norm.epsilon)
    # A depthwise kernel ends with (channels, multiplier), an ordinary one with the filters.
    per_kernel = scale.reshape(kernel.shape[2:]) if isinstance(convolution, layers.DepthwiseConv2D) else scale
    return kernel * per_kernel, (bias - mean) * scale + beta


def foldable_pairs(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Return convolution name -> the BatchNormalization that alone reads its output."""
    # Keras has no public list of a model's layer calls; these nodes are what its own cloning walks through.
    by_depth = getattr(model, "_nodes_by_depth", None)
    if by_depth is None:
        raise CourseError(
            f"{type(model).__name__} {model.name!r} is no functional model: "
            "folding needs one, such as keras.Model(model.inputs, model.outputs)."
        )
    nodes = [node for depth in by_depth.values() for node in depth]
    calls = Counter(id(node.operation) for node in nodes)
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in model.outputs)
    pairs = {}
    for node in nodes:
        norm = node.operation
        if isinstance(norm, layers.BatchNormalization) and norm.axis in (-1, 3):
            source = node.input_tensors[0]
            convolution = source._keras_history.operation
            used_once = calls[id(norm)] == calls[id(convolution)] == readers[id(source)] == 1
            if used_once and is_plain_convolution(convolution):
                pairs[convolution.name] = norm
    return pairs


def is_plain_convolution(layer: keras.Layer) -> bool:
    """Whether the output of the layer is a channels-last convolution without activation."""
    if type(layer) not in (layers.Conv2D, layers.DepthwiseConv2D):
        return False
    return layer.activation is keras.activations.linear and layer.data_format == "channels_last"
