import keras
import numpy as np
import pytest
from keras import layers

from course_utils.errors import CourseError
from course_utils.models.freezing import unfreeze


@pytest.fixture(scope="module")
def mobilenet():
    return keras.applications.MobileNetV2((32, 32, 3), weights=None, include_top=False, pooling="avg")


@pytest.fixture
def small():
    x = inputs = keras.Input((8, 8, 3))
    for block in (1, 2, 10):
        x = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(momentum=0.5, name=f"block{block}_norm")(x)
        x = layers.ReLU(name=f"block{block}_activation")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="small")


def fit_once(backbone):
    model = keras.Sequential([backbone, layers.Dense(2)])
    model.compile("sgd", "mse")
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(8, 8, 8, 3)), random.normal(size=(8, 2)), verbose=0)


def weights_that_move(backbone):
    before = {weight.path: weight.numpy() for weight in backbone.weights}
    fit_once(backbone)
    return {weight.path for weight in backbone.weights if not np.array_equal(before[weight.path], weight)}


@pytest.mark.parametrize(
    "depth, trains",
    [
        *[(0, []), (1, [10]), (2, [2, 10]), (3, [1, 2, 10])],
        *[(0.0, []), (0.34, [10]), (1.0, [1, 2, 10])],
        *[("block10_conv", [10]), ("block2", [2, 10]), ("block1", [1, 2, 10])],
    ],
)
def test_depths_by_number_share_and_name(small, depth, trains):
    result = unfreeze(small, depth)
    assert result.layers == tuple(f"block{block}_conv" for block in trains)
    assert result.trainable == sum(9 * 4 * (3 if block == 1 else 4) for block in trains)
    assert result.total == small.count_params()


def test_only_what_is_reported_moves_and_batch_norm_keeps_still(small):
    unfreeze(small, 2)
    assert weights_that_move(small) == {"block2_conv/kernel", "block10_conv/kernel"}


def test_batch_norm_moves_when_asked_for(small):
    result = unfreeze(small, 1, batch_norm=True)
    assert result.layers == ("block10_conv", "block10_norm")
    assert result.trainable == 9 * 4 * 4 + 2 * 4  # scale and offset train, the moving statistics only move
    moved = weights_that_move(small)
    assert {"block10_norm/gamma", "block10_norm/moving_mean"} <= moved
    assert not any("block2" in path for path in moved)


def test_freezes_again_what_was_trainable(small):
    small.trainable = False
    assert unfreeze(small, 1.0).trainable > 0
    assert unfreeze(small, 0).trainable == 0
    assert not small.trainable_weights


def test_an_application_of_keras(mobilenet):
    everything = unfreeze(mobilenet, 1.0)
    assert not any(layer.trainable for layer in mobilenet.layers if isinstance(layer, layers.BatchNormalization))
    upper = unfreeze(mobilenet, "block_1")  # neither block_10 nor the stem
    assert upper.layers[0] == "block_1_expand" and "block_10_expand" in upper.layers
    assert 0 < upper.trainable < everything.trainable < everything.total
    assert unfreeze(mobilenet, 1).layers == ("Conv_1",)
    assert unfreeze(mobilenet, 1).trainable == 320 * 1280
    assert "409,600 of 2,257,984 parameters train (18%), from Conv_1 up" == str(unfreeze(mobilenet, 1))


@pytest.mark.parametrize(
    "depth, message",
    [
        (-1, "depth=-1 is impossible for small: give a number of layers from 0 to 3"),
        (4, "depth=4 is impossible"),
        (1.5, "a share from 0.0 to 1.0"),
        (-0.1, "depth=-0.1"),
        (float("nan"), "depth=nan"),
        (True, "depth=True"),
        (None, "depth=None"),
        ("block7", "no block or layer 'block7': there are block"),
        ("", "no block or layer ''"),
        ("bloc", "no block or layer 'bloc'"),
        ("b", "no block or layer 'b'"),
    ],
)
def test_nonsense_depths_are_refused(small, depth, message):
    unfreeze(small, 1)
    with pytest.raises(CourseError, match=message):
        unfreeze(small, depth)
    assert len(small.trainable_weights) == 1  # nothing was changed


def test_models_that_are_not_flat_are_refused(small):
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(CourseError, match="holds the model 'small'"):
        unfreeze(keras.Model(inputs, layers.Dense(2)(small(inputs))), 1)
    with pytest.raises(CourseError, match="got str"):
        unfreeze("EfficientNetLite0", 1)
    with pytest.raises(CourseError, match="no layer with weights"):
        unfreeze(keras.Model(inputs, layers.ReLU()(inputs)), 1)
