"""1x1 convolutions computed as matrix products: the same function and weights, faster gradients on CPUs.

A 1x1 convolution multiplies the vector of channels at each place by one matrix. TensorFlow's gradient of a
convolution for its input is several times slower on CPUs than the gradient of that product.
"""

import keras
from keras import layers, ops

from course_utils.settings import CourseError


@keras.saving.register_keras_serializable(package="course_utils")
class PointwiseConv2D(layers.Conv2D):
    """A Conv2D of kernel size 1 and stride 1 whose places are the rows of one matrix."""

    def call(self, inputs):
        rows = ops.reshape(inputs, (-1, inputs.shape[-1])) @ self.kernel[0, 0]
        if self.use_bias:
            rows = rows + self.bias
        return self.activation(ops.reshape(rows, (-1, *inputs.shape[1:3], self.filters)))


def multiply_pointwise(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model, with equal weights, whose 1x1 convolutions are matrix products."""
    if not isinstance(model, keras.Model):
        raise CourseError(f"multiply_pointwise takes a functional keras.Model; got {type(model).__name__}.")

    def clone(layer):
        kind = PointwiseConv2D if is_pointwise(layer) else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def is_pointwise(layer: keras.Layer) -> bool:
    """Whether the layer is an ordinary convolution of one pixel, over pictures of known size."""
    return (
        type(layer) is layers.Conv2D
        and (layer.kernel_size, layer.strides, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.data_format == "channels_last"
        and None not in layer.input.shape[1:3]
    )
