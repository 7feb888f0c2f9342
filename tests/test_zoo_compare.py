"""`course zoo compare`: networks on a folder of images, and how it refuses."""

import keras_hub
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from course_tools import cli, zoo_compare
from course_utils.errors import CourseError
from course_utils.zoo import BACKBONES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six stripes of each direction, in noise: what any network tells apart."""
    monkeypatch.setattr(zoo_compare, "BUILD", tmp_path / "build")
    random = np.random.default_rng(0)
    for axis, name in enumerate(("lying", "standing")):
        (tmp_path / "stripes" / name).mkdir(parents=True)
        for number in range(6):
            stripes = np.indices((48, 48))[axis] // 6 % 2 * 200
            pixels = stripes[..., None] + random.uniform(0, 50, (48, 48, 3))
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "stripes" / name / f"{number}.png")
    return tmp_path / "stripes"


def course(*words):
    result = CliRunner().invoke(cli.app, ["zoo", "compare", *map(str, words)])
    return result.stdout, result.exception


def test_carried_networks_are_compared_and_stored(folder):
    output, error = course(folder, "EfficientNetLite0", "MobileNetV2Torch", "--size", 32)
    assert error is None and "zoo_stripes.csv" in output
    table = pd.read_csv(folder.parent / "build" / "zoo_stripes.csv").set_index("network")
    assert list(table.columns) == [
        "size", "accuracy", "standard error", "ms alone", "ms in a batch", "parameters", "FLOPs",
    ]  # fmt: skip
    assert sorted(table.index) == ["EfficientNetLite0", "MobileNetV2Torch"]
    assert (table["size"] == 32).all() and table["accuracy"].is_monotonic_decreasing
    assert (table["accuracy"] > 0.8).all() and (table[["ms alone", "ms in a batch"]] > 0).all(axis=None)
    for name, row in table.iterrows():
        assert row["parameters"] == BACKBONES[name].parameters_without_head
    assert table.loc["EfficientNetLite0", "FLOPs"] > table.loc["MobileNetV2Torch", "FLOPs"] > 1e6


def test_a_preset_of_keras_hub_is_compared_at_its_own_size(folder, tmp_path):
    keras_hub.models.ViTBackbone(
        image_shape=(48, 48, 3), patch_size=16, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=16
    ).save_to_preset(str(tmp_path / "vit"))
    keras_hub.layers.ViTImageConverter(image_size=(48, 48), scale=1 / 255).save_to_preset(str(tmp_path / "vit"))
    output, error = course(folder, f"hub:{tmp_path / 'vit'}", "--size", 32)
    assert error is None and "keeps the size of its training" in output
    row = pd.read_csv(folder.parent / "build" / "zoo_stripes.csv").iloc[0]
    assert row["size"] == 48 and row["accuracy"] > 0.8 and np.isnan(row["FLOPs"])


def test_a_network_without_weights_does_not_stop_the_others(folder, monkeypatch):
    def no_network(**arguments):
        raise Exception("URL fetch failure on https://example.org: None -- no route")

    monkeypatch.setattr("keras.applications.VGG16", no_network)
    output, error = course(folder, "VGG16", "MobileNetV2Torch", "--size", 32)
    assert isinstance(error, CourseError) and "VGG16 could not be downloaded" in str(error)
    assert list(pd.read_csv(folder.parent / "build" / "zoo_stripes.csv")["network"]) == ["MobileNetV2Torch"]


def test_sizes_below_the_least_are_raised_with_a_sentence():
    sizes, told = zoo_compare.accepted_sizes(["Xception", "ResNet50V2", "InceptionResNetV2"], 64)
    assert sizes == {"Xception": 71, "ResNet50V2": 64, "InceptionResNetV2": 75}
    assert told == [
        "Xception needs 71 pixels or more: 64 is raised to 71.",
        "InceptionResNetV2 needs 75 pixels or more: 64 is raised to 75.",
    ]
    assert zoo_compare.accepted_sizes(["EfficientNetV2S", "VGG16"], None) == (
        {"EfficientNetV2S": 384, "VGG16": 224},
        [],
    )


@pytest.mark.parametrize(
    "names, size, message",
    [
        (["hub:dinov2_small", "ConvNextTyni"], None, "'ConvNextTyni': did you mean ConvNeXtTiny"),
        (["VGG16"], 0, "size=0 is impossible"),
        (["VGG16"], -5, "size=-5 is impossible"),
    ],
)
def test_wrong_names_and_sizes_get_one_sentence(names, size, message):
    with pytest.raises(CourseError, match=message):
        zoo_compare.accepted_sizes(names, size)


def test_wrong_folders_get_one_sentence(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for number in range(1, 6):
        (folder / "lying" / f"{number}.png").unlink()
    wrong = {"nowhere": "There is no folder", "empty": "has 0 subfolders", "stripes": "lying has a single image"}
    for name, message in wrong.items():
        _, error = course(tmp_path / name, "EfficientNetLite0", "--size", 32)
        assert isinstance(error, CourseError) and message in str(error)
    (folder / "lying" / "0.png").unlink()
    _, error = course(folder, "EfficientNetLite0")
    assert isinstance(error, CourseError) and "The class lying in" in str(error) and "has no image" in str(error)
