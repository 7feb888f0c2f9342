"""The registry tells the truth: every network builds, counts and runs as its row says.

Run as a script, this file builds the named ones, one after the other, and prints a line of JSON for each. The tests
read these lines, so that the memory of the large networks is given back at once. The smallest of each family is always
built, the others are slow.
"""

import functools
import gc
import json
import re
import subprocess
import sys

import keras
import numpy as np
import psutil
import pytest

from course_utils.errors import CourseError
from course_utils.zoo.backbones import load_backbone
from course_utils.zoo.cost import count_flops
from course_utils.zoo.memory import MEGABYTE, count_memory, peak_memory
from course_utils.zoo.registry import BACKBONES, find_backbone, zoo_table

DOWNLOADED = [entry for entry in BACKBONES.values() if not entry.carried]
every_network = pytest.mark.parametrize("name", BACKBONES)
MEMORY_LIMIT = 8e9
BY_SIZE = sorted(BACKBONES.values(), key=lambda entry: entry.parameters_without_head * entry.input_size**2)
# "resnet50" and "resnet", "vgg16" and "vgg19" are modules of one family.
SMALLEST = list({re.sub(r"\d\d$", "", entry.module): entry.name for entry in reversed(BY_SIZE)}.values())
OTHERS = [entry.name for entry in BY_SIZE if entry.name not in SMALLEST]


def measure(name):
    """Build a network and run an image through it."""
    model = load_backbone(name, weights=None)
    size = model.input_shape[1]
    image = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    before, found = psutil.Process().memory_info().rss, []
    growth = peak_memory(lambda: found.append(np.array(model(image, training=False))))
    return {
        "name": name,
        "size": size,
        "weights": model.count_params(),
        "shape": found[0].shape,
        "finite": bool(np.isfinite(found[0]).all()),
        "costs": [count_flops(model), count_memory(model, 1)],
        "memory": before + growth * MEGABYTE,
    }


@functools.cache
def built(*names):
    """Build networks, each at its own input size, and run an image through each, in one process."""
    finished = subprocess.run([sys.executable, __file__, *names], capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert finished.returncode == 0, finished.stderr[-2000:]
    return {row["name"]: row for row in rows}


def check(entry, row):
    assert row["size"] == entry.input_size
    assert row["weights"] == entry.parameters_without_head
    assert row["shape"] == [1, entry.features]
    assert row["finite"] and min(row["costs"]) > 0
    assert row["memory"] < MEMORY_LIMIT


@pytest.mark.parametrize("name", SMALLEST)
def test_smallest_of_a_family_is_as_registered(name):
    check(BACKBONES[name], built(*SMALLEST)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_network_is_as_registered(name):
    check(BACKBONES[name], built(*OTHERS)[name])


@every_network
def test_weights_of_the_head_make_up_the_difference(name):
    entry = BACKBONES[name]
    if not entry.has_head:
        assert entry.parameters is None
        return
    hidden = [entry.features]
    if name.startswith("VGG"):
        hidden = [7 * 7 * entry.features, 4096, 4096]  # it flattens its last map, and has two dense layers more
    elif name.startswith("MobileNetV3"):
        hidden += [1280 if name.endswith("Large") else 1024]
    widths = [*hidden, 1000]
    head = sum(inputs * outputs + outputs for inputs, outputs in zip(widths, widths[1:], strict=False))
    assert entry.parameters == entry.parameters_without_head + head


@pytest.mark.parametrize("name", ["EfficientNetLite0", "MobileNet", "MobileNetV3Small", "EfficientNetV2B0"])
def test_with_head_the_count_is_the_published_one(name):
    assert load_backbone(name, weights=None, include_top=True).count_params() == BACKBONES[name].parameters


@pytest.mark.parametrize("entry", DOWNLOADED, ids=lambda entry: entry.name)
def test_network_and_preprocessing_come_from_the_same_module(entry):
    preprocessing = getattr(keras.applications, entry.module).preprocess_input
    assert getattr(keras.applications, entry.name).__module__ == preprocessing.__module__


@pytest.mark.parametrize("entry", DOWNLOADED, ids=lambda entry: entry.name)
def test_style_says_what_the_preprocessing_does(entry):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    found = np.array(getattr(keras.applications, entry.module).preprocess_input(pixels.copy()))
    if entry.style == "own":
        np.testing.assert_array_equal(found, pixels)  # these networks hold their scaling inside
    else:
        expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=entry.style)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_published_figures_are_plausible_and_licences_named():
    for entry in BACKBONES.values():
        assert 0.65 < entry.top1 < 0.9, entry.name
        assert entry.licence, entry.name


def test_table_has_a_row_for_each_network():
    table = zoo_table()
    assert list(table.index) == list(BACKBONES)
    assert table.loc["VGG16", "parameters [M]"] == pytest.approx(138.357544)
    assert table.loc["EfficientNetLite0", "from"] == "carried"
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize(
    "name, answer",
    [
        ("ResNet-50", "did you mean ResNet50"),
        ("efficientnet_lite0", "did you mean EfficientNetLite0"),
        ("VGG16_notop", "did you mean VGG16.*include_top=False"),
        ("DenseNet", "did you mean DenseNet"),
        ("", "known are EfficientNetLite0"),
        (None, "known are EfficientNetLite0"),
    ],
)
def test_a_wrong_name_answers_with_the_nearest_right_ones(name, answer):
    with pytest.raises(CourseError, match=answer):
        find_backbone(name)


@pytest.mark.parametrize("name, size", [("ResNet50", 128), ("EfficientNetB7", 224), ("EfficientNetLite2", 224)])
def test_a_wrong_size_with_head_answers_with_the_right_one(name, size):
    with pytest.raises(CourseError, match=f"input_size={BACKBONES[name].input_size}, not with {size}"):
        load_backbone(name, weights=None, input_size=size, include_top=True)


# One network for each way of preprocessing: caffe, tf, and four that scale inside.
@pytest.mark.parametrize(
    "name", ["VGG16", "MobileNet", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"]
)
def test_raw_pixels_give_what_keras_gives_for_preprocessed_ones(name):
    model = load_backbone(name, input_size=32, weights=None)
    shape = {"include_top": False, "pooling": "avg", "input_shape": (32, 32, 3)}
    network = getattr(keras.applications, name)(weights=None, **shape)
    network.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    preprocessed = getattr(keras.applications, BACKBONES[name].module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(np.array(model(pixels)), np.array(network(preprocessed)), rtol=1e-4, atol=1e-6)
    scaled = {type(layer).__name__ for layer in model.layers} & {"Rescaling", "Normalization"}
    assert bool(scaled) == (BACKBONES[name].style == "own")


def test_every_network_of_keras_is_registered():
    of_keras = [name for name in dir(keras.applications) if name[0].isupper()]
    assert sorted(of_keras) == sorted(entry.name for entry in DOWNLOADED)


if __name__ == "__main__":
    for network in sys.argv[1:]:
        print(json.dumps(measure(network)), flush=True)
        keras.backend.clear_session()
        gc.collect()
