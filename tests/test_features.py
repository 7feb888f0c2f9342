import inspect
import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from course_utils.errors import CourseError
from course_utils.models import features
from course_utils.models.features import check_images, extract_features, feature_key


def small_model(size=16, scale=1 / 128, offset=-1.0, seed=0, activation="relu"):
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(scale, offset)(inputs)
    x = layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(seed))(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation(activation, name=activation)(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path / "features"


@pytest.fixture
def computations(monkeypatch):
    """Count how often features are really computed."""
    calls, compute = [], features.compute_features

    def counted(*arguments):
        calls.append(arguments)
        return compute(*arguments)

    monkeypatch.setattr(features, "compute_features", counted)
    return calls


def test_equal_to_the_model_itself_whatever_the_batch():
    model = small_model()
    expected = np.array(model(IMAGES.astype(np.float32)))
    for batch_size in (1, 3, 7, 32):
        actual = features.compute_features(model, IMAGES, batch_size)
        assert actual.shape == (7, 4) and actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_resizes_and_repeats_grey():
    model = small_model(size=24)
    grey = IMAGES[..., :1]
    resized = keras.ops.image.resize(np.repeat(grey, 3, axis=-1).astype(np.float32), (24, 24))
    np.testing.assert_allclose(extract_features(model, grey), np.array(model(resized)), atol=1e-5)


def test_second_call_computes_nothing(computations, empty_cache):
    model = small_model()
    first = extract_features(model, IMAGES)
    model.trainable = False  # changes nothing of what the model computes
    second = extract_features(model, IMAGES.copy(), batch_size=2)
    np.testing.assert_array_equal(first, second)
    assert len(computations) == 1
    assert [path.suffix for path in empty_cache.iterdir()] == [".npz"]


def test_key_depends_on_all_that_matters():
    keys = [feature_key(small_model(), IMAGES)]
    keys.append(feature_key(small_model(seed=1), IMAGES))  # weights
    keys.append(feature_key(small_model(scale=1 / 255), IMAGES))  # preprocessing
    keys.append(feature_key(small_model(offset=0.0), IMAGES))
    keys.append(feature_key(small_model(size=24), IMAGES))  # size
    keys.append(feature_key(small_model(activation="tanh"), IMAGES))  # architecture
    changed = IMAGES.copy()
    changed[-1, -1, -1, -1] ^= 1
    keys.append(feature_key(small_model(), changed))  # one bit of one pixel
    keys.append(feature_key(small_model(), IMAGES.astype(np.float32)))  # type
    keys.append(feature_key(small_model(), IMAGES[::-1]))  # order
    keys.append(feature_key(small_model(), IMAGES.reshape(7, 8, 32, 3)))  # shape
    model = small_model()
    _, _, mean, variance = model.layers[3].get_weights()
    model.layers[3].moving_variance.assign(variance * 2)  # statistics of BatchNormalization
    keys.append(feature_key(model, IMAGES))
    assert len(set(keys)) == len(keys)


def test_key_depends_on_the_preprocessing_of_a_keras_application():
    from course_utils.models.preprocessing import ApplicationPreprocessing

    keys = []
    for module in ("resnet50", "mobilenet_v2"):
        inputs = keras.Input((16, 16, 3))
        x = ApplicationPreprocessing(module)(inputs)
        keys.append(feature_key(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)), IMAGES))
    assert keys[0] != keys[1]


def test_key_is_the_same_after_other_models_and_in_another_process():
    key = feature_key(small_model(), IMAGES)
    small_model(), small_model()  # Keras numbers unnamed layers on
    assert feature_key(small_model(), IMAGES) == key
    script = (
        "import keras\nfrom keras import layers\n"
        + inspect.getsource(small_model)
        + (
            "import numpy as np\n"
            "from course_utils.models.features import feature_key\n"
            "images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)\n"
            "print(feature_key(small_model(), images))\n"
        )
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.split()[-1] == key


@pytest.mark.parametrize("damage", ["truncate", "flip a bit", "empty", "other file"])
def test_damaged_cache_file_is_computed_again(computations, empty_cache, damage):
    model = small_model()
    expected = extract_features(model, IMAGES)
    path = next(empty_cache.iterdir())
    data = bytearray(path.read_bytes())
    if damage == "flip a bit":
        position = bytes(data).index(expected.tobytes()) + 5
        data[position] ^= 64
    path.write_bytes({"truncate": data[:100], "flip a bit": data, "empty": b"", "other file": b"text"}[damage])
    np.testing.assert_array_equal(extract_features(model, IMAGES), expected)
    assert len(computations) == 2
    extract_features(model, IMAGES)
    assert len(computations) == 2


def test_features_of_other_images_are_not_taken_for_these(empty_cache):
    model = small_model()
    expected = extract_features(model, IMAGES)
    (path,) = empty_cache.iterdir()
    extract_features(model, IMAGES[::-1])
    (other,) = set(empty_cache.iterdir()) - {path}
    other.replace(path)
    np.testing.assert_array_equal(extract_features(model, IMAGES), expected)


def test_random_generators_do_not_notice_the_cache():
    model, drawn = small_model(seed=None), []  # a copy of its layers draws initial weights
    for _ in range(2):  # computed, then cached
        keras.utils.set_random_seed(0)
        extract_features(model, IMAGES)
        drawn.append((random.random(), np.random.rand(), float(np.sum(keras.random.normal((3,))))))
        drawn[-1] += (float(np.sum(layers.Dense(2)(np.ones((1, 3))))),)
    assert drawn[0] == drawn[1]


def test_failed_write_leaves_no_half_file(monkeypatch, empty_cache):
    def full_disk(*arguments, **named):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(CourseError, match=r"cannot be kept in .* \(no space left\): free some space"):
        extract_features(small_model(), IMAGES)
    assert not list(empty_cache.iterdir())


def with_nan():
    pixels = IMAGES.astype(np.float32)
    pixels[0, 0, 0, 0] = np.nan
    return pixels


@pytest.mark.parametrize(
    "images, message",
    [
        (IMAGES / 255, "scaled to"),
        (with_nan(), "from nan to nan"),
        (IMAGES[0], r"shape \(16, 16, 3\)"),
        (IMAGES[:0], r"shape \(0, 16, 16, 3\)"),
        (list(IMAGES), "of type list"),
        (IMAGES[..., :2], "2 channels"),
        (IMAGES > 9, "of type bool"),
        (IMAGES - 128.0, "reach from"),
        (IMAGES.astype(np.int64) * 2, "reach from"),
        (IMAGES.astype(object), "of type object"),
    ],
)
def test_what_is_no_raw_image_is_refused(images, message):
    with pytest.raises(CourseError, match=message):
        check_images(images, 3)


def test_dark_images_of_whole_numbers_are_accepted():
    check_images(np.zeros((1, 4, 4, 3), np.uint8), 3)


def test_unfit_models_and_batches_are_refused():
    inputs = keras.Input((16, 16, 3))
    unpooled = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    anysize = keras.Input((None, None, 3))
    unsized = keras.Model(anysize, layers.GlobalAveragePooling2D()(anysize))
    for model in (unpooled, unsized, "EfficientNetLite0"):
        with pytest.raises(CourseError, match="features need one from"):
            extract_features(model, IMAGES)
    for batch_size in (0, 2.5, True):
        with pytest.raises(CourseError, match="batch_size"):
            extract_features(small_model(), IMAGES, batch_size)
