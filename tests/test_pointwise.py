import keras
import numpy as np
import pytest
from keras import layers

from course_utils.models.pointwise import PointwiseConv2D, multiply_pointwise
from course_utils.settings import CourseError


@pytest.fixture
def model():
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 1, activation="relu", name="pointwise")(x)
    x = layers.Conv2D(4, 3, name="wide")(x)
    x = layers.Conv2D(5, 1, use_bias=False, name="without_bias")(x)
    x = layers.Conv2D(4, 1, strides=2, name="strided")(x)
    return keras.Model(inputs, x)


def test_same_function_and_weights(model):
    model.get_layer("pointwise").bias.assign([1, -1, 2, 0.5])
    copy = multiply_pointwise(model)
    pictures = np.random.default_rng(0).normal(size=(3, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(copy(pictures), model(pictures), atol=1e-5)
    assert [type(layer) is PointwiseConv2D for layer in copy.layers[1:]] == [True, False, True, False]
    for old, new in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_copy_is_saved_and_loaded(model, tmp_path):
    copy = multiply_pointwise(model)
    copy.save(tmp_path / "model.keras")
    pictures = np.ones((2, 6, 6, 3), "float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(pictures), copy(pictures))


def test_only_models_are_accepted():
    with pytest.raises(CourseError, match="got str"):
        multiply_pointwise("EfficientNetLite0")
