"""Folders that Keras reads: pictograms, splits with the same number a class, and the reader's own images."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from course_utils.data import clean_image_folder, image_folders, load_openmoji, load_openmoji_folder, split_image_folder
from course_utils.data.project_images import read_image_folder
from course_utils.errors import CourseError

RED, GREEN = (255, 0, 0), (0, 128, 0)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Images are kept in a folder of the test; fetched files stay where they are."""
    monkeypatch.setattr(image_folders, "cache_dir", lambda: tmp_path / "cache")


def counts(folder):
    return {path.name: len(image_folders.visible_files(path)) for path in sorted(folder.iterdir()) if path.is_dir()}


@pytest.fixture(scope="module")
def openmoji_by_class():
    split = load_openmoji(size=32)
    x, y = (np.concatenate([part[i] for part in (split.train, split.validation, split.test)]) for i in range(2))
    return {name: {image.tobytes() for image in x[y == k]} for k, name in enumerate(split.class_names)}


def test_openmoji_objects_are_those_of_the_loader(openmoji_by_class):
    folder = load_openmoji_folder(size=32)
    assert (folder / "animal" / "1F98A-fox-face.png").is_file() and (folder / "animal" / "E000.png").is_file()
    for name, images in openmoji_by_class.items():
        written = [Image.open(file).tobytes() for file in (folder / name).iterdir()]
        assert len(written) == len(images) and set(written) == images


def test_openmoji_categories_as_keras_reads_them():
    folder = load_openmoji_folder("categories", size=32)
    dataset = keras.utils.image_dataset_from_directory(folder, image_size=(32, 32), shuffle=False, verbose=0)
    assert dataset.class_names == [
        "Activities", "Animals & Nature", "Food & Drink", "Objects", "People & Body",
        "Smileys & Emotion", "Symbols", "Travel & Places",
    ]  # fmt: skip
    x, y = (np.concatenate(part) for part in zip(*dataset.as_numpy_iterator(), strict=True))
    assert np.bincount(y).tolist() == [85, 148, 133, 261, 156, 160, 211, 218]
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == 1372
    assert (folder / "Animals & Nature" / "1F98A-fox-face.png").is_file()
    first = Image.open(sorted((folder / "Activities").iterdir())[0])
    assert np.array_equal(x[0], np.asarray(first))


def test_a_damaged_folder_is_written_again():
    folder = load_openmoji_folder(size=16)
    fox = folder / "animal" / "1F98A-fox-face.png"
    (folder / "animal" / "extra.png").write_bytes(b"")
    whole, unchanged = fox.read_bytes(), folder / "face" / "263A-white-smiling-face.png"
    fox.write_bytes(whole[:50])
    before = unchanged.stat().st_mtime_ns
    assert load_openmoji_folder(size=16) == folder and fox.read_bytes() == whole
    assert unchanged.stat().st_mtime_ns != before and not (folder / "animal" / "extra.png").exists()
    before = unchanged.stat().st_mtime_ns
    load_openmoji_folder(size=16)
    assert unchanged.stat().st_mtime_ns == before  # a whole folder is left as it is
    assert [path.name for path in folder.parent.iterdir() if "lock" not in path.name] == [folder.name]


def test_openmoji_folder_refusals():
    with pytest.raises(CourseError, match='labels must be "objects" or "categories"; got \'animals\''):
        load_openmoji_folder("animals")
    for size in (8, 64.5, True, "64"):
        with pytest.raises(CourseError, match="at least 16"):
            load_openmoji_folder(size=size)


def test_split_has_the_same_number_of_each_class_and_shares_no_image():
    folder = load_openmoji_folder(size=16)
    split = split_image_folder(folder, per_class=10, seed=0)
    assert set(counts(split / "train").values()) == {10}
    assert counts(split / "validation")["plant"] == counts(split / "test")["plant"] == 12
    names = [{f.name for f in image_folders.visible_files(split / part)} for part in ("train", "validation", "test")]
    assert sum(map(len, names)) == len(set.union(*names)) == 573
    again, other = split_image_folder(folder, seed=0), split_image_folder(folder, seed=1)
    assert again == split and other != split
    assert {f.name for f in image_folders.visible_files(other / "train")} != names[0]


def test_split_refusals():
    folder = load_openmoji_folder(size=16)
    with pytest.raises(CourseError, match="class plant has 34 images; 33 for training .* at least 35"):
        split_image_folder(folder, per_class=33)
    for number in (0, 2.5, True):
        with pytest.raises(CourseError, match="^per_class=.* give a whole number, at least 1"):
            split_image_folder(folder, per_class=number)
    with pytest.raises(CourseError, match="^seed=-1 is impossible: give a whole number, at least 0"):
        split_image_folder(folder, seed=-1)
    with pytest.raises(CourseError, match="has 0 subfolders"):
        split_image_folder(folder / "plant")


def test_a_split_is_made_again_when_an_image_changes_and_others_stay_beside_it(tmp_path, monkeypatch):
    folders = [tmp_path / "cache" / "images" / name for name in ("pets", "toys")]  # as if `keep_folder` had made them
    for folder in folders:
        for i in range(8):
            (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            (folder / "ab"[i % 2] / f"{i}.png").write_text(f"{folder.name} {i}")
    made = [split_image_folder(folder, n, seed) for folder in folders for n in (1, 2) for seed in (0, 1)]
    assert len(set(made)) == 8 and split_image_folder(folders[0], 1) == made[0]
    for split, n in zip(made, (1, 1, 2, 2) * 2, strict=True):  # the last one has left those before it as they were
        assert [counts(split / part)["a"] for part in ("train", "validation", "test")] == [
            n,
            (4 - n) // 2,
            4 - n - (4 - n) // 2,
        ]
    assert {file.read_text().split()[0] for file in image_folders.visible_files(made[0])} == {"pets"}
    (folders[0] / "a" / "0.png").write_text("another")
    split = split_image_folder(folders[0], 1)
    assert split == made[0] and "another" in {file.read_text() for file in image_folders.visible_files(split)}


def test_split_cleans_a_folder_of_the_reader(own, capsys):
    for name in ("cat", "dog"):
        (own / name / "broken.jpg").write_bytes(b"")
    with pytest.raises(CourseError, match="class dog has 2 images; 1 for training"):
        split_image_folder(own, per_class=1)
    Image.new("L", (3, 3), 99).save(own / "dog" / "third.webp")
    split = split_image_folder(own, per_class=1)
    assert [sum(counts(split / part).values()) for part in ("train", "validation", "test")] == [2, 2, 2]
    assert "2 passed over, no image that can be read: cat/broken.jpg; dog/broken.jpg" in capsys.readouterr().out


def test_copies_of_one_image_never_meet_in_two_parts_of_a_split(tmp_path, capsys):
    root, random = tmp_path / "twins", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(root / name / f"{i}.png")
            shutil.copy(root / name / f"{i}.png", root / name / f"{i} copy.png")
    shutil.copy(root / "cat" / "0.png", root / "dog" / "cat.png")
    for seed in range(3):
        split = split_image_folder(root, per_class=2, seed=seed)
        pixels = [Image.open(file).tobytes() for file in image_folders.visible_files(split)]
        assert len(pixels) == len(set(pixels)) == 12
        out = capsys.readouterr().out
        assert "12 passed over, copies of an image of the same class: cat/0.png = cat/0 copy.png; " in out
        assert out.count(" = ") == 6 and "; 7 more\n" in out
        assert "1 passed over, copies of an image of another class: dog/cat.png = cat/0 copy.png" in out


@pytest.fixture
def own(tmp_path):
    """Images as people have them: turned by a note, transparent, grey, of 16 bits, in formats that Keras skips."""
    root = tmp_path / "my images"
    (root / "cat" / "garden").mkdir(parents=True)
    (root / "dog").mkdir()
    tall = np.zeros((41, 30, 3), np.uint8)
    tall[:20] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(np.rot90(tall).copy()).save(root / "cat" / "turned.jpg", exif=exif, quality=100, subsampling=0)
    Image.new("RGBA", (33, 17), (0, 0, 0, 0)).save(root / "cat" / "garden" / "clear.png")
    Image.new("RGB", (700, 999), GREEN).save(root / "cat" / "large.webp", lossless=True)
    Image.new("L", (9, 8), 7).save(root / "dog" / "grey.tiff")
    Image.fromarray(np.full((5, 6), 256 * 200 + 3, np.uint16)).save(root / "dog" / "deep.png")
    return root


def test_own_images_arrive_upright_in_colour_and_in_one_format(own):
    clean = clean_image_folder(own)
    read = {file.name: np.asarray(Image.open(file)) for file in image_folders.visible_files(clean)}
    assert set(read) == {"turned_jpg.png", "garden__clear_png.png", "large_webp.png", "grey_tiff.png", "deep_png.png"}
    turned = read["turned_jpg.png"].astype(int)
    assert turned.shape == (41, 30, 3)
    assert np.abs(turned[:18] - RED).max() < 10 and turned[22:].max() < 10
    assert (read["garden__clear_png.png"] == 255).all()
    assert max(read["large_webp.png"].shape) == 512 and (read["large_webp.png"] == GREEN).all()
    assert (read["grey_tiff.png"] == 7).all() and (read["deep_png.png"] == 200).all()
    assert read["deep_png.png"].shape == (5, 6, 3)
    dataset = keras.utils.image_dataset_from_directory(clean, image_size=(32, 32), verbose=0)
    assert dataset.class_names == ["cat", "dog"] and sum(len(y) for _, y in dataset) == 5


def test_files_passed_over_are_counted_and_named(own, capsys):
    first = "5 images of 2 classes: 3 cat, 2 dog"
    second = "1 of them lie in subfolders of their class, which a split does not keep together."
    clean_image_folder(own)
    assert capsys.readouterr().out == f"{first}\n{second}\n"
    (own / "dog" / "broken.jpg").write_bytes(b"\xff\xd8 and nothing more")
    (own / "dog" / "notes.txt").write_text("no image")
    (own / "dog" / ".DS_Store").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9), np.float32)).save(own / "dog" / "heights.tif")
    shutil.copy(own / "dog" / "grey.tiff", own / "dog" / "grey again.tiff")
    shutil.copy(own / "dog" / "grey.tiff", own / "loose.tiff")
    for number in range(50):
        (own / "cat" / f"{number:02d}.heic").write_bytes(b"from a phone")
    for _ in range(2):  # made, and found in the cache
        clean = clean_image_folder(own)
        assert capsys.readouterr().out.splitlines() == [
            first,
            second,
            "52 passed over, no image that can be read: "
            + "; ".join(f"cat/0{number}.heic" for number in range(5))
            + "; 47 more",
            "1 passed over, copies of an image of the same class: dog/grey.tiff = dog/grey again.tiff",
            "1 passed over, too many bits: dog/heights.tif",
            "1 passed over, in no class: loose.tiff",
        ]
    assert counts(clean) == {"cat": 3, "dog": 2}


def test_a_relative_path_is_the_same_folder(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    assert clean_image_folder(own.name) == clean_image_folder(own) == clean_image_folder(str(own))


def test_a_folder_with_spaces_and_long_names(tmp_path, own):
    """A name of 255 bytes leaves no room for what is added to it while it is written."""
    folder = tmp_path / ("my own photos " * 18)[:250]
    own.rename(folder)
    for k, name in enumerate(("long" * 60, "lang" * 60, "写" * 80)):
        Image.new("RGB", (8, 8), (k, 0, 0)).save(folder / "dog" / f"{name}.png")
        (folder / "cat" / ("deep" * 20)).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (k, 9, 0)).save(folder / "cat" / ("deep" * 20) / f"{name}.png")
    clean = clean_image_folder(folder)
    assert counts(clean) == {"cat": 6, "dog": 5}
    assert (clean / "cat" / "turned_jpg.png").exists()


def test_a_suffix_decides_nothing(tmp_path):
    for name, file in {"a": "photo.jfif", "b": "photo"}.items():
        (tmp_path / "shots" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), RED if name == "a" else GREEN).save(tmp_path / "shots" / name / file, "jpeg")
    assert counts(clean_image_folder(tmp_path / "shots")) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "parts",
    [("train", "val", "test"), ("Train", "Test"), ("training", "valid", "testing"), ("train", "validation", "dev")],
)
def test_a_folder_that_is_already_split_is_named_as_such(own, tmp_path, parts):
    for part in parts:
        shutil.copytree(own, tmp_path / "pics" / part)
    with pytest.raises(CourseError, match=f"already split into {', '.join(sorted(parts))}, .* give one of these"):
        split_image_folder(tmp_path / "pics")
    assert counts(clean_image_folder(tmp_path / "pics" / parts[0])) == {"cat": 3, "dog": 2}


@pytest.mark.parametrize(
    ("name", "part"),
    [("testing", "test"), ("val", "validation"), ("Valid", "validation"), ("dev", "validation"), ("test", "test")],
)
def test_a_part_goes_by_several_names(tmp_path, name, part):
    for i, train in enumerate(("train", "training")):
        for path in (train, name):
            for j, label in enumerate("ab"):
                (tmp_path / train / path / label).mkdir(parents=True)
                Image.new("RGB", (4, 4), (i, j, len(path))).save(tmp_path / train / path / label / "1.png")
        table, _, _ = read_image_folder(tmp_path / train, 32)
        assert table["part"].tolist() == (["train"] * 2 + [part] * 2 if train < name else [part] * 2 + ["train"] * 2)


def test_what_systems_leave_behind_is_no_class_and_no_file(tmp_path):
    for name in ("a", "b", "__MACOSX", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    assert list(image_folders.class_folders(tmp_path)) == ["a", "b"]
    assert [path.parent.name for path in image_folders.visible_files(tmp_path)] == ["a", "b"]
    assert image_folders.printable("a\nb\rc\udc80é") == "a\\nb\\rc\\udc80é"


def test_own_image_refusals(own, tmp_path):
    with pytest.raises(CourseError, match="There is no folder .*nowhere"):
        clean_image_folder(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="has 1 subfolders"):
        clean_image_folder(own / "cat")
    (own / "bird").mkdir()
    (own / "bird" / "song.txt").write_text("tweet")
    (own / "ant").mkdir()
    with pytest.raises(CourseError, match="class ant .* has no image that can be read"):  # the first of two
        clean_image_folder(own)
    (own / "ant").rmdir()
    with pytest.raises(CourseError, match="class bird .* has no image that can be read"):
        clean_image_folder(own)
    (own / "bird").rename(own / "Cat")
    with pytest.raises(CourseError, match="The folders Cat and cat in .* differ by case only: make them one"):
        clean_image_folder(own)
    assert not list((tmp_path / "cache" / "images").glob("my*"))  # nothing half made is left
