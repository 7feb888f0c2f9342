import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from course_utils.errors import CourseError
from course_utils.models.cpu_training import PointwiseConv2D, ShiftedDepthwiseConv2D, for_cpu_training


@pytest.fixture
def model():
    x = inputs = keras.Input((6, 7, 3))
    x = layers.Conv2D(4, 1, activation="relu", name="pointwise")(x)
    x = layers.DepthwiseConv2D(5, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.DepthwiseConv2D((2, 3), padding="same", name="even_kernel")(x)
    x = layers.Conv2D(4, 3, name="wide")(x)
    x = layers.Conv2D(5, 1, use_bias=False, name="without_bias")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="strided_depthwise")(x)
    x = layers.Conv2D(4, 1, strides=2, name="strided")(x)
    return keras.Model(inputs, x)


@pytest.fixture
def images():
    return tf.constant(np.random.default_rng(0).normal(size=(3, 6, 7, 3)).astype("float32"))


def test_same_function_and_weights(model, images):
    model.get_layer("pointwise").bias.assign([1, -1, 2, 0.5])
    copy = for_cpu_training(model)
    np.testing.assert_allclose(copy(images), model(images), atol=1e-5)
    kinds = [type(layer) for layer in copy.layers[1:]]
    assert [kind is PointwiseConv2D for kind in kinds] == [True, False, False, False, True, False, False]
    assert [kind is ShiftedDepthwiseConv2D for kind in kinds] == [False, True, True, False, False, False, False]
    for old, new in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_same_gradients(model, images):
    def gradients(network):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(network(images) ** 2)
        return tape.gradient(loss, [images, *(weight.value for weight in network.trainable_weights)])

    for slow, fast in zip(gradients(model), gradients(for_cpu_training(model)), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(None, 7), (6, None)])
def test_layers_for_images_of_any_size_stay_as_they_are(size):
    inputs = keras.Input((*size, 3))
    outputs = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(4, 1)(inputs))
    copy = for_cpu_training(keras.Model(inputs, outputs))
    assert [type(layer) for layer in copy.layers[1:]] == [layers.Conv2D, layers.DepthwiseConv2D]


def test_the_copy_is_saved_and_loaded(model, images, tmp_path):
    copy = for_cpu_training(model)
    copy.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(images), copy(images))


def test_only_models_are_accepted():
    with pytest.raises(CourseError, match="got str"):
        for_cpu_training("EfficientNetLite0")


def test_models_inside_models_are_refused(model):
    inputs = keras.Input(model.input_shape[1:])
    with pytest.raises(CourseError, match="whose layers would stay slow"):
        for_cpu_training(keras.Model(inputs, model(inputs)))
