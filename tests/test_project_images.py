"""What a folder of images becomes: a table, small copies, and sentences on the files that are in no class."""

import numpy as np
import pytest
from PIL import Image

from course_utils.data import image_folders, project_images
from course_utils.data.project_images import read_image_folder
from course_utils.errors import CourseError


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Two classes of three images of one colour each; one image lies deeper, and one is there twice."""
    monkeypatch.setattr(image_folders, "cache_dir", lambda: tmp_path / "cache")
    for name, colour in {
        "b/1.PNG": 10,
        "b/2.jpg": 20,
        "b/p/q/3.png": 30,
        "a/1.png": 40,
        "a/2.png": 40,
        "a/3.png": 50,
    }.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + colour, 30), (colour,) * 3).save(tmp_path / "own" / name)
    return tmp_path / "own"


def test_a_row_tells_all_of_an_image(folder):
    table, small, told = read_image_folder(folder, 24)
    assert told == {} and small.shape == (6, 16, 16, 3) and small.dtype == np.uint8
    assert small[:, 0, 0, 0].tolist()[:4] == [40, 40, 50, 10]
    assert table["file"].tolist() == ["a/1.png", "a/2.png", "a/3.png", "b/1.PNG", "b/2.jpg", "b/p/q/3.png"]
    assert table["label"].tolist() == list("aaabbb") and table["group"].tolist() == [""] * 5 + ["p/q"]
    assert table["format"].tolist() == [".png"] * 4 + [".jpg", ".png"] and set(table["part"]) == {""}
    assert table["width"].tolist() == [80, 80, 90, 50, 60, 70] and set(table["height"]) == {30}
    assert table["content"].nunique() == 5 and table["content"][0] == table["content"][1]
    for path, grey in zip(table["x"], small[:, 0, 0, 0], strict=True):
        with Image.open(path) as copy:
            assert copy.size == (24, 24) and copy.mode == "RGB" and copy.getpixel((5, 5)) == (grey,) * 3


def test_images_are_read_again_for_another_size_or_file_and_else_not(folder, monkeypatch):
    read, upright = [], project_images.read_upright
    monkeypatch.setattr(project_images, "read_upright", lambda file: read.append(file.name) or upright(file))
    first, _, _ = read_image_folder(folder, 24)
    again, small, _ = read_image_folder(folder, 24)
    assert len(read) == 6 and first.equals(again) and len(small) == 6
    larger, _, _ = read_image_folder(folder, 32)
    assert len(read) == 12 and set(larger["x"]).isdisjoint(first["x"]) and Image.open(first["x"][0]).size == (24, 24)
    (folder / "a" / "3.png").unlink()
    assert len(read_image_folder(folder, 24)[0]) == 5 and len(read) == 17
    monkeypatch.setattr(project_images, "VERSION", project_images.VERSION + 1)
    read_image_folder(folder, 24)
    assert len(read) == 22
    other = folder.rename(folder.with_name("other"))
    assert set(read_image_folder(other, 24)[0]["x"]).isdisjoint(first["x"])  # folders stand beside each other


def test_files_that_are_in_no_class_are_counted_and_named(folder):
    for name in ("loose 1.png", "loose 2.txt", ".hidden"):
        (folder / name).touch()
    for i in range(4):
        (folder / "a" / f"broken {i}.png").touch()
    (folder / "c").mkdir()
    table, _, told = read_image_folder(folder, 24)
    assert len(table) == 6 and told == {
        "loose files": "2 files lie in no class: loose 1.png; loose 2.txt.",
        "unreadable files": "4 files are no images that can be read: "
        "a/broken 0.png; a/broken 1.png; a/broken 2.png; 1 more.",
        "lost classes": "1 classes have no image that can be read, and are left out: c.",
    }


@pytest.mark.parametrize("spoilt", [True, False])
def test_a_folder_without_any_image_is_refused_in_one_sentence(folder, spoilt):
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.write_text("no image") if spoilt else path.unlink()
    for _ in range(2):  # read, and found in the cache
        with pytest.raises(CourseError, match="No file in the classes of own can be read as an image"):
            read_image_folder(folder, 24)


def test_beside_the_parts_of_a_split_nothing_is_read(folder):
    whole = folder.rename(folder.with_name("train"))
    folder.mkdir()
    whole.rename(folder / "train")
    (folder / "test" / "a").mkdir(parents=True)
    (folder / "extra" / "a").mkdir(parents=True)
    (folder / "train" / "loose.png").touch()
    (folder / "loose.png").touch()
    table, _, told = read_image_folder(folder, 24)
    assert set(table["part"]) == {"train"} and table["label"].tolist() == list("aaabbb")
    assert told["other folders"] == "The folder is split; beside its parts, these are left out: extra."
    assert told["part test"] == "test has no classes in subfolders, so it has no labels: it is left out."
    assert told["loose files"] == "2 files lie in no class: loose.png; loose.png."


def test_a_train_part_without_classes_is_refused(folder):
    (folder / "train" / "only").mkdir(parents=True)
    with pytest.raises(CourseError, match="train has 1 subfolders; at least two classes"):
        read_image_folder(folder, 24)
