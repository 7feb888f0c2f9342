"""Networks of KerasHub, through its own loading path: presets with random weights, written to a folder."""

import keras_hub
import numpy as np
import pytest

from course_utils.errors import CourseError
from course_utils.models import extract_features
from course_utils.zoo.presets import load_preset

VIT = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8}
NETWORKS = {
    "vit": lambda: keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), patch_size=16, mlp_dim=16, **VIT),
    "dinov2": lambda: keras_hub.models.DINOV2Backbone(
        image_shape=(28, 28, 3), position_embedding_shape=(56, 56, 3), patch_size=14, intermediate_dim=16, **VIT
    ),
    "resnet": lambda: keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block",
    ),
}  # fmt: skip
CONVERTERS = {
    "vit": (keras_hub.layers.ViTImageConverter, 32, {"scale": [1 / 127.5] * 3, "offset": [-1.0] * 3}),
    "dinov2": (keras_hub.layers.DINOV2ImageConverter, 28, {"scale": [0.01, 0.02, 0.03], "offset": [-1.0, -2.0, -3.0]}),
    "resnet": (keras_hub.layers.ResNetImageConverter, 24, {"scale": 1 / 255}),
}


@pytest.fixture(params=NETWORKS)
def preset(request, tmp_path):
    """A folder as KerasHub downloads it, the network in it, and its converter."""
    layer, size, how = CONVERTERS[request.param]
    backbone, converter = NETWORKS[request.param](), layer(image_size=(size, size), **how)
    for part in (backbone, converter):
        part.save_to_preset(str(tmp_path))
    return str(tmp_path), backbone, converter


def test_raw_pixels_give_the_features_of_keras_hub(preset, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    folder, backbone, converter = preset
    pixels = np.random.default_rng(0).integers(0, 256, (5, *converter.image_size, 3)).astype("uint8")
    converted = converter(pixels)
    output = np.array(backbone({"images": converted} if isinstance(backbone.input, dict) else converted))
    expected = output[:, 0] if output.ndim == 3 else output.mean(axis=(1, 2))
    model = load_preset(folder)
    np.testing.assert_allclose(np.array(model(pixels)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(extract_features(model, pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_bas", "nowhere/at_all", ""])
def test_unknown_presets_get_one_sentence(name):
    with pytest.raises(CourseError, match="could not be loaded.*dinov2_small"):
        load_preset(name)


def test_a_network_for_text_is_refused(tmp_path):
    text = keras_hub.models.BertBackbone(
        vocabulary_size=8, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=4
    )
    text.save_to_preset(str(tmp_path))
    with pytest.raises(CourseError, match="give an image network"):
        load_preset(str(tmp_path))
