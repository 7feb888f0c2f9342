"""Backbones against PyTorch.

The references were recorded with PyTorch 2.13 (CPU). The MobileNetV2 is the definition that its package ships;
EfficientNet-Lite is one written for the recording, with TensorFlow's ``same`` padding, whose channels were read
off the checkpoint (``load_state_dict`` strict). The image is that of `image` below; recorded are the pooled
features and, where there is a head, the 1000 logits.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from skimage.data import chelsea

from course_utils.errors import CourseError
from course_utils.models.inverted_residual import load_torch_weights
from course_utils.models.preprocessing import ApplicationPreprocessing
from course_utils.zoo.backbones import load_backbone
from course_utils.zoo.registry import BACKBONES

REFERENCE = np.load(Path(__file__).parent / "reference" / "backbones.npz")


def image(size):
    """A square of a photo, sampled without interpolation so that every library sees the same pixels."""
    square = chelsea()[:300, 100:400]
    rows = np.arange(size) * 300 // size
    return square[rows][:, rows][None].astype(np.float32)


@pytest.mark.parametrize("name", [entry.name for entry in BACKBONES.values() if entry.carried])
def test_carried_backbone_equals_pytorch(name):
    has_head = BACKBONES[name].has_head
    model = load_backbone(name, include_top=has_head)
    outputs = [model.get_layer("pool").output, model.output]
    features, probabilities = keras.Model(model.input, outputs)(image(BACKBONES[name].input_size))
    np.testing.assert_allclose(np.array(features)[0], REFERENCE[name], atol=2e-4)
    if has_head:
        # Softmax forgets a common shift, so logarithms are compared after centring.
        logits = np.log(np.array(probabilities)[0])
        expected = REFERENCE[f"{name}_logits"]
        np.testing.assert_allclose(logits - logits.mean(), expected - expected.mean(), atol=5e-4)
        assert np.argmax(logits) == 285  # Egyptian cat


def test_without_head_the_output_is_pooled_and_layers_are_reachable():
    model = load_backbone(input_size=64, weights=None)
    assert model.name == "EfficientNetLite0" and model.output_shape == (None, 1280)
    names = [layer.name for layer in model.layers]
    assert names[:3] == ["pixels", "preprocessing", "stem_conv"] and names[-2:] == ["top_activation", "pool"]
    assert "block1a_depthwise_conv" in names and "predictions" not in names


def test_random_weights_follow_the_seed_and_keep_the_signal():
    pixels, features = image(64), []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        model = load_backbone(input_size=64, weights=None)
        features.append(np.array(model(pixels)))
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.1
    assert 0.1 < features[0].std() < 6
    first, second = (model.get_layer(f"block6{x}_expand_conv").get_weights()[0] for x in "bc")
    assert np.abs(first - second).max() > 0.1  # equal shapes do not share their draw


@pytest.mark.parametrize("change", ["missing", "left over", "wrong shape"])
def test_checkpoint_must_fit_exactly(change):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    tensors = {"fc.weight": np.ones((2, 4)), "fc.bias": np.zeros(2), "bn.num_batches_tracked": np.array(1)}
    load_torch_weights(model, tensors)
    np.testing.assert_array_equal(model.get_layer("dense").kernel, np.ones((4, 2)))
    if change == "missing":
        del tensors["fc.bias"]
    elif change == "left over":
        tensors["other.weight"] = np.ones(1)
    else:
        tensors["fc.weight"] = np.ones((3, 4))
    for bad in (tensors, {}):
        with pytest.raises(CourseError, match="does not fit"):
            load_torch_weights(model, bad)


@pytest.mark.parametrize("module", sorted({entry.module for entry in BACKBONES.values() if not entry.carried}))
def test_preprocessing_layer_equals_keras_applications(module):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.float32)
    layer = ApplicationPreprocessing(module)
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(np.array(layer(pixels)), expected, rtol=1e-5, atol=1e-5)


def test_application_has_its_preprocessing_and_survives_saving(tmp_path):
    model = load_backbone("MobileNetV2", input_size=32, weights=None)
    assert model.name == "MobileNetV2" and model.output_shape == (None, 1280)
    assert model.get_layer("preprocessing").module == "mobilenet_v2"
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    pixels = image(32)
    np.testing.assert_allclose(np.array(again(pixels)), np.array(model(pixels)), atol=1e-6)


def test_every_downloaded_name_is_known_to_keras():
    for entry in [entry for entry in BACKBONES.values() if not entry.carried]:
        assert callable(getattr(keras.applications, entry.name))
        assert ApplicationPreprocessing(entry.module).module == entry.module
    assert "MobileNetV2Torch" in BACKBONES and "MobileNetV2" in BACKBONES


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "EfficientnetLite"}, "did you mean EfficientNetLite"),
        ({"name": "resnet"}, "did you mean ResNet"),
        ({"name": "qqq"}, "known are EfficientNetLite0"),
        ({"input_size": 31}, "at least 32"),
        ({"input_size": 224.0}, "whole number"),
        ({"input_size": True}, "whole number"),
        ({"name": "Xception", "input_size": 64}, "at least 71"),
        ({"name": "InceptionV3", "input_size": 74}, "at least 75"),
        ({"name": "InceptionResNetV2", "input_size": 74}, "at least 75"),
        ({"include_top": True, "input_size": 128}, "input_size=224, not with 128"),
        ({"name": "MobileNetV2Torch", "include_top": True}, "no ImageNet head"),
        ({"weights": "noisy"}, "'imagenet' and None"),
    ],
)
def test_bad_requests_get_one_sentence(arguments, message):
    with pytest.raises(CourseError, match=message):
        load_backbone(**arguments)


def test_failed_download_gets_one_sentence(monkeypatch):
    def no_network(**arguments):
        raise Exception("URL fetch failure on https://example.org: None -- no route")

    monkeypatch.setattr(keras.applications, "VGG16", no_network)
    with pytest.raises(CourseError, match="VGG16 could not be downloaded"):
        load_backbone("VGG16")


def test_other_errors_of_keras_are_not_taken_for_a_failed_download(monkeypatch):
    def broken(**arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(keras.applications, "VGG16", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        load_backbone("VGG16")
