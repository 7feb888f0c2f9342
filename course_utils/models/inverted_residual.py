"""Networks of inverted residual blocks, as MobileNetV2 and EfficientNet-Lite, and how PyTorch weights enter them.

References
----------
Sandler, Howard, Zhu, Zhmoginov and Chen (2018), "MobileNetV2: Inverted residuals and linear bottlenecks",
CVPR, https://arxiv.org/abs/1801.04381
He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers", ICCV, https://arxiv.org/abs/1502.01852
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from course_utils.errors import CourseError
from course_utils.models.checkpoint import read_torch_checkpoint


class Convention(NamedTuple):
    """What two frameworks do differently with the same weights."""

    epsilon: float  # added to the variance by BatchNormalization
    # PyTorch pads a strided convolution alike on all sides; TensorFlow's `same` padding puts the odd pixel at the
    # bottom and on the right.
    symmetric_padding: bool


class Stage(NamedTuple):
    """Blocks of one width; only the first of them shrinks the image."""

    repeats: int
    kernel_size: int
    strides: int
    expansion: int
    filters: int


def build_network(name, input_size, checkpoint, preprocessing, stages, convention, has_head) -> keras.Model:
    """Build stem, blocks (block1a, block2a, block2b…) and pooled features, with an ImageNet head if it `has_head`.

    The weights come from a checkpoint in PyTorch's legacy format, or are random without one.
    """
    inputs = keras.Input((input_size, input_size, 3), name="pixels")
    x = convolution_unit(preprocessing(inputs), "stem", 32, convention, kernel_size=3, strides=2)
    for number, stage in enumerate(stages, start=1):
        for i in range(stage.repeats):
            strides = stage.strides if i == 0 else 1
            x = inverted_residual(x, f"block{number}{chr(ord('a') + i)}", stage, strides, convention)
    x = convolution_unit(x, "top", 1280, convention)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if has_head:
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name=name)
    if checkpoint is not None:
        load_torch_weights(model, read_torch_checkpoint(checkpoint))
    return model


def inverted_residual(x, name, stage, strides, convention):
    """Widen with 1x1, filter each channel apart, narrow with 1x1; add the input where shapes agree."""
    channels, inputs = x.shape[-1], x
    if stage.expansion > 1:
        x = convolution_unit(x, f"{name}_expand", stage.expansion * channels, convention)
    x = convolution_unit(x, f"{name}_depthwise", None, convention, stage.kernel_size, strides)
    # No activation after narrowing: ReLU would destroy information where there are few channels.
    x = convolution_unit(x, f"{name}_project", stage.filters, convention, activate=False)
    if strides == 1 and channels == stage.filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def convolution_unit(x, name, filters, convention, kernel_size=1, strides=1, activate=True):
    """Convolution (depthwise when `filters` is None), BatchNormalization, and ReLU6 if `activate`."""
    padding = "same"
    if strides > 1 and convention.symmetric_padding:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    options = {"kernel_size": kernel_size, "strides": strides, "padding": padding, "use_bias": False}
    if filters is None:
        x = layers.DepthwiseConv2D(**options, depthwise_initializer=random_kernel(), name=f"{name}_conv")(x)
    else:
        x = layers.Conv2D(filters, **options, kernel_initializer=random_kernel(), name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=convention.epsilon, name=f"{name}_norm")(x)
    return layers.ReLU(6, name=f"{name}_activation")(x) if activate else x


def random_kernel() -> keras.Initializer:
    """Keep the size of the signal through the depth (He et al. 2015): a random network is then a fair control."""
    # A fresh one for each layer: an initializer draws the same numbers again when it is reused.
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def load_torch_weights(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Give the layers of a flat model the tensors of a PyTorch state dictionary, which names modules as they run.

    Raises
    ------
    CourseError
        If a tensor is missing, left over or of the wrong shape.
    """
    modules: dict[str, list[np.ndarray]] = {}
    for name, tensor in tensors.items():
        # The number of batches seen in training has no counterpart in Keras and no part in the forward pass.
        if not name.endswith(".num_batches_tracked"):
            modules.setdefault(name.rpartition(".")[0], []).append(tensor)
    try:
        with_weights = [layer for layer in model.layers if layer.weights]
        for layer, (first, *rest) in zip(with_weights, modules.values(), strict=True):
            layer.set_weights([in_keras_layout(layer, first), *rest])
    except ValueError as error:
        raise CourseError(f"The checkpoint does not fit {model.name}: {error}.") from error


def in_keras_layout(layer: keras.Layer, weight: np.ndarray) -> np.ndarray:
    """Reorder the axes of a PyTorch weight: the first tensor of a module, before its bias and statistics."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return weight.transpose(2, 3, 0, 1)  # from (channel, 1, height, width)
    if isinstance(layer, layers.Conv2D):
        return weight.transpose(2, 3, 1, 0)  # from (output, input, height, width)
    return weight.T  # from (output, input) of a dense layer; of BatchNormalization it is a vector
