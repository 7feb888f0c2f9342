"""Convolutions with the same function and weights whose gradients are several times faster on CPUs.

TensorFlow computes two gradients slowly on CPUs: of a 1x1 convolution for its input, and of a depthwise
convolution for its kernel. The first is a matrix product; the second is, for each place of the kernel, a sum of
products of the shifted input with the gradient that comes from above.
"""

import keras
import tensorflow as tf
from keras import layers, ops

from course_utils.errors import CourseError


@keras.saving.register_keras_serializable(package="course_utils")
class PointwiseConv2D(layers.Conv2D):
    """A Conv2D of kernel size 1 and stride 1 whose places are the rows of one matrix."""

    def call(self, inputs):
        rows = ops.reshape(inputs, (-1, inputs.shape[-1])) @ self.kernel[0, 0]
        if self.use_bias:
            rows = rows + self.bias
        return self.activation(ops.reshape(rows, (-1, *inputs.shape[1:3], self.filters)))


@keras.saving.register_keras_serializable(package="course_utils")
class ShiftedDepthwiseConv2D(layers.DepthwiseConv2D):
    """A DepthwiseConv2D of stride 1 and "same" padding whose kernel's gradient is a sum over shifts."""

    def call(self, inputs):
        outputs = depthwise_by_shifts(inputs, tf.convert_to_tensor(self.kernel.value))
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)


@tf.custom_gradient
def depthwise_by_shifts(inputs, kernel):
    """Filter each channel of `inputs` (n, h, w, c) with its slice of `kernel` (kh, kw, c, 1)."""

    def gradients(upstream):
        for_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, strides=[1] * 4, padding="SAME"
        )
        (rows, columns), (height, width) = kernel.shape[:2], inputs.shape[1:3]
        # "Same" padding puts the odd pixel at the bottom and on the right.
        padded = tf.pad(inputs, [(0, 0), *(((size - 1) // 2, size // 2) for size in (rows, columns)), (0, 0)])
        shifts = [
            tf.reduce_sum(padded[:, i : i + height, j : j + width] * upstream, axis=(0, 1, 2))
            for i in range(rows)
            for j in range(columns)
        ]
        return for_inputs, tf.reshape(tf.stack(shifts), kernel.shape)

    return tf.nn.depthwise_conv2d(inputs, kernel, [1] * 4, "SAME"), gradients


def for_cpu_training(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model, with equal weights, whose convolutions have fast gradients on CPUs."""
    if not isinstance(model, keras.Model):
        raise CourseError(f"for_cpu_training takes a functional keras.Model; got {type(model).__name__}.")
    if inner := [layer.name for layer in model.layers if isinstance(layer, keras.Model)]:
        raise CourseError(
            f"{model.name} holds the model {inner[0]!r}, whose layers would stay slow; give that one first."
        )

    def clone(layer):
        return faster_kind(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def faster_kind(layer: keras.Layer) -> type[keras.Layer]:
    """Return the class that does the layer's work with faster gradients, or the layer's own."""
    if type(layer) not in (layers.Conv2D, layers.DepthwiseConv2D) or None in layer.input.shape[1:3]:
        return type(layer)
    plain = layer.strides == layer.dilation_rate == (1, 1) and layer.data_format == "channels_last"
    if type(layer) is layers.Conv2D and plain and layer.kernel_size == (1, 1) and layer.groups == 1:
        return PointwiseConv2D
    if type(layer) is layers.DepthwiseConv2D and plain and layer.padding == "same" and layer.depth_multiplier == 1:
        return ShiftedDepthwiseConv2D
    return type(layer)
