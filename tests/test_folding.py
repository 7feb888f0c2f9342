import keras
import numpy as np
import pytest
from keras import layers

from course_utils.errors import CourseError
from course_utils.models.folding import fold_batch_norm, foldable_pairs
from course_utils.zoo.backbones import load_backbone


def randomise_statistics(model, seed=0):
    """Give every BatchNormalization statistics of which none may be forgotten."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            low = {"gamma": 0.8, "beta": -0.3, "moving_mean": -0.3, "moving_variance": 0.005}
            high = {"gamma": 1.2, "beta": 0.3, "moving_mean": 0.3, "moving_variance": 0.02}
            names = [weight.name for weight in layer.weights]
            layer.set_weights(
                [rng.uniform(low[n], high[n], w.shape) for n, w in zip(names, layer.get_weights(), strict=False)]
            )


def norms(model):
    return [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def small_model():
    """Every situation at once: see the names of the normalisations."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="after_input")(inputs)
    x = layers.Conv2D(4, 3, use_bias=False, name="plain")(x)
    x = layers.BatchNormalization(axis=3, name="folds_no_bias")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", bias_initializer="normal", name="depthwise")(x)
    x = layers.BatchNormalization(scale=False, name="folds_depthwise")(x)
    x = layers.Conv2D(4, 1, strides=2, bias_initializer="normal", name="with_bias")(x)
    x = layers.BatchNormalization(center=False, epsilon=0.05, name="folds_bias")(x)
    x = layers.BatchNormalization(axis=1, name="of_rows")(layers.Conv2D(4, 1, name="rows")(x))
    x = layers.Conv2D(4, 1, activation="relu", name="active")(x)
    x = layers.BatchNormalization(name="after_activation")(x)
    twice = layers.Conv2D(4, 1, name="read_twice")(x)
    x = layers.Add()([twice, layers.BatchNormalization(name="not_alone")(twice)])
    shared = layers.Conv2D(4, 1, name="shared")
    x = layers.BatchNormalization(name="after_shared")(shared(shared(x)))
    last = layers.Conv2D(2, 1, name="an_output")(x)
    return keras.Model(inputs, [layers.BatchNormalization(name="beside_output")(last), last])


def test_folds_what_can_be_folded_and_nothing_else():
    model = small_model()
    randomise_statistics(model)
    folded = fold_batch_norm(model)
    kept = ["after_input", "of_rows", "after_activation", "not_alone", "after_shared", "beside_output"]
    assert norms(folded) == kept
    assert sorted(foldable_pairs(model)) == ["depthwise", "plain", "with_bias"]
    pixels = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    for expected, actual in zip(model(pixels), folded(pixels), strict=False):
        expected = np.array(expected)  # rounding grows with the largest number on the way, which some outputs cancel
        np.testing.assert_allclose(np.array(actual), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_original_is_left_alone():
    model = small_model()
    before = [weight.copy() for weight in model.get_weights()]
    fold_batch_norm(model)
    for old, new in zip(before, model.get_weights(), strict=False):
        np.testing.assert_array_equal(old, new)
    assert model.get_layer("plain").output is not None  # still called once only


def test_carried_network_folds_completely():
    model = load_backbone(input_size=64)
    folded = fold_batch_norm(model)
    assert len(norms(model)) == 49 and not norms(folded)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(np.array(folded(pixels)), np.array(model(pixels)), atol=1e-4)


def test_application_with_random_statistics():
    keras.utils.set_random_seed(0)
    model = load_backbone("MobileNetV2", input_size=32, weights=None)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma * 1.1, beta + rng.normal(0, 0.3, beta.shape), mean + 0.1, variance * 0.3])
    folded = fold_batch_norm(model)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    expected = np.array(model(pixels))
    assert expected.std() > 0.01 and not norms(folded)
    np.testing.assert_allclose(np.array(folded(pixels)), expected, atol=1e-4)


def test_sequential_model_is_refused():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)], name="own")
    with pytest.raises(CourseError, match="Sequential 'own' is no functional model"):
        fold_batch_norm(model)
    assert fold_batch_norm(keras.Model(model.inputs, model.outputs)).output_shape is not None
