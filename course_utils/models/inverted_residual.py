"""The inverted residual block that MobileNetV2 and EfficientNet share, and how PyTorch weights enter it.

References
----------
Sandler, Howard, Zhu, Zhmoginov and Chen (2018), "MobileNetV2: Inverted residuals and linear bottlenecks",
CVPR, https://arxiv.org/abs/1801.04381
He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers", ICCV, https://arxiv.org/abs/1502.01852
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from course_utils.errors import CourseError


def random_kernel() -> keras.Initializer:
    """Keep the size of the signal through the depth (He et al. 2015): a random network is then a fair control."""
    # A fresh one for each layer: an initializer draws the same numbers again when it is reused.
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


@dataclass(frozen=True)
class Convention:
    """What two frameworks do differently with the same weights.

    Attributes
    ----------
    epsilon : float
        Added to the variance by BatchNormalization.
    symmetric_padding : bool
        True for PyTorch, which pads a strided convolution alike on all sides; False for TensorFlow,
        whose ``same`` padding puts the odd pixel at the bottom and on the right.
    """

    epsilon: float
    symmetric_padding: bool


@dataclass(frozen=True)
class BlockPlan:
    """Shape of one inverted residual block."""

    name: str
    filters: int
    expansion: int
    kernel_size: int
    strides: int


def plan_blocks(stages: list[tuple[int, int, int, int, int]]) -> list[BlockPlan]:
    """Name the blocks of (repeats, kernel size, strides, expansion, filters): block1a, block2a, block2b..."""
    return [
        # Only the first block of a stage shrinks the image.
        BlockPlan(
            f"block{stage}{chr(ord('a') + i)}",
            filters,
            expansion,
            kernel_size,
            strides if i == 0 else 1,
        )
        for stage, (repeats, kernel_size, strides, expansion, filters) in enumerate(stages, start=1)
        for i in range(repeats)
    ]


def convolution_unit(x, name, filters, convention, kernel_size=1, strides=1, activate=True):
    """Convolution (depthwise when `filters` is None), BatchNormalization, and ReLU6 if `activate`."""
    padding = "same"
    if strides > 1 and convention.symmetric_padding:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    options = {
        "kernel_size": kernel_size,
        "strides": strides,
        "padding": padding,
        "use_bias": False,
    }
    if filters is None:
        x = layers.DepthwiseConv2D(**options, depthwise_initializer=random_kernel(), name=f"{name}_conv")(x)
    else:
        x = layers.Conv2D(filters, **options, kernel_initializer=random_kernel(), name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=convention.epsilon, name=f"{name}_norm")(x)
    return layers.ReLU(6, name=f"{name}_activation")(x) if activate else x


def inverted_residual(x, plan, convention):
    """Widen with 1x1, filter each channel apart, narrow with 1x1; add the input where shapes agree."""
    channels, inputs = x.shape[-1], x
    if plan.expansion > 1:
        x = convolution_unit(x, f"{plan.name}_expand", plan.expansion * channels, convention)
    x = convolution_unit(x, f"{plan.name}_depthwise", None, convention, plan.kernel_size, plan.strides)
    # No activation after narrowing: ReLU would destroy information where there are few channels.
    x = convolution_unit(x, f"{plan.name}_project", plan.filters, convention, activate=False)
    if plan.strides == 1 and channels == plan.filters:
        x = layers.Add(name=f"{plan.name}_add")([inputs, x])
    return x


def load_torch_weights(model: keras.Model, tensors: dict[str, np.ndarray], layer_names: dict[str, str]) -> None:
    """Give each layer of `model` its PyTorch tensors; every tensor is used exactly once.

    Parameters
    ----------
    model : keras.Model
        Flat functional model.
    tensors : dict of str to ndarray
        The state dictionary.
    layer_names : dict of str to str
        PyTorch module name -> Keras layer name.

    Raises
    ------
    CourseError
        If a tensor is missing, left over or of the wrong shape, or a layer stays without weights.
    """
    # The number of batches seen in training has no counterpart in Keras and no part in the forward pass.
    left = {name: value for name, value in tensors.items() if not name.endswith(".num_batches_tracked")}
    empty = {layer.name for layer in model.layers if layer.weights}
    for module, name in layer_names.items():
        layer = model.get_layer(name)
        try:
            layer.set_weights(_keras_weights(layer, module, left))
        except (KeyError, ValueError) as error:
            raise CourseError(f"The checkpoint does not fit layer {name} of {model.name}: {error}.") from error
        empty.discard(name)
    if left or empty:
        raise CourseError(
            f"The checkpoint does not fit {model.name}: "
            f"tensors left over {sorted(left)}, layers without {sorted(empty)}."
        )


def _keras_weights(layer: keras.Layer, module: str, left: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Take the tensors of one PyTorch module out of `left`, in the layout of the Keras layer."""
    weight = left.pop(f"{module}.weight")
    if isinstance(layer, layers.DepthwiseConv2D):
        return [weight.transpose(2, 3, 0, 1)]  # (channel, 1, height, width)
    if isinstance(layer, layers.Conv2D):
        return [weight.transpose(2, 3, 1, 0)]  # (output, input, height, width)
    bias = left.pop(f"{module}.bias")
    if isinstance(layer, layers.BatchNormalization):
        return [weight, bias, left.pop(f"{module}.running_mean"), left.pop(f"{module}.running_var")]
    return [weight.T, bias]  # Dense: (output, input)
