import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from course_utils.errors import CourseError
from course_utils.models import grad_cam


def bright_finder(sign=1.0, trainable=True):
    """A network whose score is (sign times) the mean brightness, seen through a 1x1 convolution."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 1, name="look")(inputs)
    x = layers.AveragePooling2D(2, name="shrink")(x)
    outputs = layers.Dense(1, name="score")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.get_layer("look").set_weights([np.array([[[[1.0, 0.0]]]]), np.zeros(2)])
    model.get_layer("score").set_weights([np.array([[sign], [0.0]]), np.zeros(1)])
    model.trainable = trainable
    return model


def image_with_spot():
    images = np.zeros((2, 8, 8, 1), "float32")
    images[0, 2:4, 4:6] = 200
    images[1, 6:8, 0:2] = 100
    return images


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("layer, side, spots", [("look", 8, [(2, 4), (6, 0)]), ("shrink", 4, [(1, 2), (3, 0)])])
def test_the_spot_is_found(layer, side, spots, trainable):
    maps = grad_cam(bright_finder(trainable=trainable), image_with_spot(), layer)
    assert maps.shape == (2, side, side)
    assert [np.unravel_index(each.argmax(), each.shape) for each in maps] == spots
    assert maps.max() == 1 and maps.min() == 0


def test_a_layer_below_the_first_weights_can_be_explained():
    inputs = keras.Input((8, 8, 1))
    x = layers.AveragePooling2D(2, name="shrink")(inputs)
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(layers.Flatten()(x)))
    maps = grad_cam(model, image_with_spot(), "shrink")
    assert [np.unravel_index(each.argmax(), each.shape) for each in maps] == [(1, 2), (3, 0)]


def test_what_lowers_the_score_is_cut_off():
    assert grad_cam(bright_finder(sign=-1.0), image_with_spot(), "look").max() == 0


def test_map_is_the_weighted_sum_of_the_paper():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="maps")(inputs)
    outputs = layers.Dense(1)(layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x)))
    model = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 3)).astype("float32")
    lower = keras.Model(inputs, x)
    upper_inputs = keras.Input(x.shape[1:])
    y = upper_inputs
    for layer in model.layers[2:]:
        y = layer(y)
    upper, activations = keras.Model(upper_inputs, y), tf.constant(lower.predict(images, verbose=0))
    with tf.GradientTape() as tape:
        tape.watch(activations)
        score = upper(activations)
    weights = tape.gradient(score, activations).numpy().mean(axis=(1, 2))
    expected = np.maximum(np.einsum("nhwc,nc->nhw", activations.numpy(), weights), 0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    assert grad_cam(model, images, "maps") == pytest.approx(expected, abs=1e-5)


def test_batches_do_not_matter():
    model, images = bright_finder(), np.random.default_rng(0).random((7, 8, 8, 1))
    assert grad_cam(model, images, "look", batch_size=3) == pytest.approx(grad_cam(model, images, "look"))


def test_a_sequential_model_is_explained_like_a_functional_one():
    model = bright_finder()
    sequential = keras.Sequential([type(layer).from_config(layer.get_config()) for layer in model.layers])
    sequential.set_weights(model.get_weights())
    assert np.array_equal(grad_cam(sequential, image_with_spot(), "look"), grad_cam(model, image_with_spot(), "look"))


@pytest.mark.parametrize("layer", ["look", "base"])
def test_a_network_inside_of_another_is_told_with_what_to_do(layer):
    inputs = keras.Input((8, 8, 1))
    base = keras.Model(inputs, layers.Conv2D(2, 1, name="look")(inputs), name="base")
    outer = keras.Input((8, 8, 1))
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(1)])
    nested = keras.Model(outer, head(base(layers.Rescaling(2.0)(outer))))
    with pytest.raises(CourseError, match="belongs to base, a network inside of .*: build the model from base.input"):
        grad_cam(nested, image_with_spot(), layer)
    assert grad_cam(keras.Model(base.input, head(base.output)), image_with_spot(), "look").shape == (2, 8, 8)


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(CourseError, match="no layer 'block9'.*look, shrink"):
        grad_cam(bright_finder(), image_with_spot(), "block9")
    with pytest.raises(CourseError, match="no layer 'score'"):
        grad_cam(bright_finder(), image_with_spot(), "score")
    for images in (image_with_spot()[:, :4], image_with_spot()[..., 0], image_with_spot()[:0]):
        with pytest.raises(CourseError, match="images have the shape"):
            grad_cam(bright_finder(), images, "look")
    with pytest.raises(CourseError, match="NaN"):
        grad_cam(bright_finder(), image_with_spot() * np.nan, "look")
    with pytest.raises(CourseError, match="batch_size=0 is impossible"):
        grad_cam(bright_finder(), image_with_spot(), "look", batch_size=0)
    for unbuilt in (keras.Sequential([layers.Conv2D(2, 1, name="look")]), layers.Dense(1)):
        with pytest.raises(CourseError, match="no functional model"):
            grad_cam(unbuilt, image_with_spot(), "look")
    model = bright_finder()
    with pytest.raises(CourseError, match="does not depend on 'look'"):  # these layers were called for another model
        grad_cam(keras.Sequential(model.layers), image_with_spot(), "look")
    three = keras.Model(model.input, layers.Dense(3)(model.output))
    with pytest.raises(CourseError, match="explains one score"):
        grad_cam(three, image_with_spot(), "look")
