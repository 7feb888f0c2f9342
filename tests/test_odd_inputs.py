"""Inputs that people report elsewhere as breaking: each gets the right answer or one sentence.

The comments name threads in public trackers where such an input was reported.
"""

import gzip
import os
import re
from contextlib import nullcontext, suppress

import numpy as np
import pytest
from PIL import Image

from course_utils.data import clean_image_folder, image_folders
from course_utils.data.project import look_at
from course_utils.errors import CourseError

TEXTS = [f"{word} {i % 7} times, said person {i}" for i, word in enumerate(["great", "poor"] * 20)]
HEAD, ROWS = "text,label", [f'"{text}",{"good" if i % 2 == 0 else "bad"}' for i, text in enumerate(TEXTS)]
USABLE = 40  # texts
IMAGES = 12


def noise(mode="RGB", seed=99, side=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).convert(mode)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Two classes of six images, which have nothing odd about them."""
    monkeypatch.setattr(image_folders, "cache_dir", lambda: tmp_path / "cache")
    for i in range(IMAGES):
        path = tmp_path / "pics" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed=i).save(path)
    return tmp_path / "pics"


def hidden_class(root):  # tensorflow/tensorflow#46595
    (root / ".ipynb_checkpoints").mkdir()
    noise().save(root / ".ipynb_checkpoints" / "1-checkpoint.png")


def resource_forks(root):  # python-pillow/Pillow#4807
    for name in ("._1.png", ".DS_Store"):
        (root / "cat" / name).write_bytes(b"\0\5\x16\7")


def empty_files(root):  # pytorch/vision#138
    (root / "cat" / "empty.jpg").write_bytes(b"")
    noise(side=64).save(root / "cat" / "whole.jpg")
    (root / "cat" / "cut.jpg").write_bytes((root / "cat" / "whole.jpg").read_bytes()[:900])


def page_saved_as_image(root):  # tensorflow/tensorflow#45019
    (root / "cat" / "photo.jpg").write_text("<html>404 Not Found</html>")


def damaged_header(root):  # Pillow raises ValueError here, not the OSError of most damaged files
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "header.png").write_bytes(whole[:8] + b"\0\0\0\5" + whole[12:])


def sixteen_bits(root):  # python-pillow/Pillow#3011
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 150).save(root / "cat" / "deep.png")


def sixteen_bits_backwards(root):  # python-pillow/Pillow#5991
    noise("L").convert("I;16").convert("I;16B").save(root / "cat" / "deep.tiff")


def four_inks(root):  # tensorflow/tensorflow#48556 has its like; python-pillow/Pillow#4860
    noise("CMYK").save(root / "cat" / "print.jpg")


def palette_with_holes(root):  # imageio/imageio#475
    noise("P").save(root / "cat" / "palette.png", transparency=bytes(range(256)))


def animation(root):  # tensorflow/tensorflow#24065
    frames = [noise("P", seed) for seed in (50, 51, 52)]
    frames[0].save(root / "cat" / "moving.gif", save_all=True, append_images=frames[1:])


def two_photos_in_one(root):  # phones store a second picture behind the first
    noise(seed=60).save(root / "cat" / "phone.jpg", "mpo", save_all=True, append_images=[noise(seed=61)])


def other_suffixes(root):  # keras-team/keras#3946; tensorflow/tensorflow#50366
    noise(seed=70).save(root / "cat" / "SHOUTING.JPG", "jpeg")
    noise(seed=71).save(root / "cat" / "none", "png")
    noise(seed=72).save(root / "cat" / "really_png.jpg", "png")
    noise(seed=73).save(root / "cat" / "old.ppm")


def phone_format(root):  # Pillow reads it with a plugin alone
    (root / "cat" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))


def wide_photo(root):
    noise(seed=74, side=60).resize((600, 400)).save(root / "cat" / "wide.jfif", "jpeg")


def some_in_a_subfolder(root):
    for i in range(20):
        (root / "cat" / "patient1").mkdir(exist_ok=True)
        noise(seed=200 + i).save(root / "cat" / "patient1" / f"{i}.png")


def linked_class(root):  # keras-team/keras#4657
    (root / "cat").rename(root.parent / "elsewhere")
    (root / "cat").symlink_to(root.parent / "elsewhere")


def linked_folder(root):
    (root / "cat" / "loop").symlink_to(root)


def dangling_link(root):
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")


def odd_names(root):
    noise(seed=80).save(root / "cat" / "two\nlines.png")
    noise(seed=81).save(os.fsencode(root / "cat") + b"/caf\xe9.png")


def too_many_pixels(root):  # deepfates/memery#10
    Image.new("1", (20000, 20000)).save(root / "cat" / "bomb.png")


def one_pixel(root):
    Image.new("RGB", (1, 1), "red").save(root / "cat" / "dot.png")


def small_class(root):  # keras-team/keras#16661
    (root / "bird").mkdir()
    noise(seed=90).save(root / "bird" / "only.png")


def empty_class(root):
    (root / "bird").mkdir()


def both_labels(root):
    noise(seed=1).save(root / "cat" / "in both.png")


def near_copy(root):
    photo = noise(seed=5, side=4).resize((120, 120), Image.Resampling.BICUBIC)
    photo.save(root / "cat" / "big.png")
    photo.resize((80, 80)).point(lambda grey: grey * 0.9).save(root / "dog" / "small.jpg", quality=80)


def case_only(root):
    (root / "Cat").mkdir()
    noise(seed=95).save(root / "Cat" / "1.png")


def unlabelled_test(root):
    (root / "train").mkdir()
    for name in ("cat", "dog"):
        (root / name).rename(root / "train" / name)
    (root / "test").mkdir()
    noise().save(root / "test" / "1.png")


ODD_FOLDERS = [  # what is there, how many images can be used, what is said
    (hidden_class, IMAGES, ""),
    (resource_forks, IMAGES, ""),
    (empty_files, IMAGES + 1, "2 files are no images that can be read: cat/cut.jpg; cat/empty.jpg"),
    (page_saved_as_image, IMAGES, "1 files are no images that can be read: cat/photo.jpg"),
    (damaged_header, IMAGES, "1 files are no images that can be read: cat/header.png"),
    (sixteen_bits, IMAGES + 1, ""),
    (sixteen_bits_backwards, IMAGES + 1, ""),
    (four_inks, IMAGES + 1, ""),
    (palette_with_holes, IMAGES + 1, ""),
    (animation, IMAGES + 1, ""),
    (two_photos_in_one, IMAGES + 1, ""),
    (other_suffixes, IMAGES + 4, ""),
    (phone_format, IMAGES, "1 files are no images that can be read: cat/phone.heic"),
    (wide_photo, IMAGES + 1, ""),
    (some_in_a_subfolder, IMAGES + 20, "1 groups are kept together"),
    (linked_class, IMAGES, ""),
    (linked_folder, IMAGES, "1 linked folders inside of classes are not followed: loop"),
    (dangling_link, IMAGES, ""),
    (odd_names, IMAGES + 2, ""),
    (too_many_pixels, IMAGES, "1 files are no images that can be read: cat/bomb.png"),
    (one_pixel, IMAGES + 1, ""),
    (small_class, IMAGES, r"1 classes have fewer than 5 .*; left out: bird \(1\)"),
    (empty_class, IMAGES, "1 classes have no image that can be read, and are left out: bird"),
    (both_labels, IMAGES - 1, "2 samples are there with two labels; none of them is used: dog/1.png = cat/in both.png"),
    (near_copy, IMAGES + 2, "1 pairs of near copies have two labels.*cat/big.png = dog/small.jpg"),
    (case_only, None, "The folders Cat and cat in pics differ by case only"),
    (unlabelled_test, IMAGES, "test has no classes in subfolders"),
]


@pytest.mark.parametrize("spoil, usable, said", ODD_FOLDERS, ids=lambda case: getattr(case, "__name__", ""))
def test_odd_folders_of_images(folder, spoil, usable, said, recwarn):
    spoil(folder)
    if usable is None:
        with pytest.raises(CourseError, match=said):
            look_at(folder, 32)
        return
    found = look_at(folder, 32)
    assert sum(map(len, found.parts.values())) == usable and found.findings[0].startswith(
        f"{usable} images can be used"
    )
    assert len(image_folders.visible_files(found.folder)) == usable
    assert not said or any(re.search(said, line) for line in found.findings), str(found)
    assert [str(warning.message) for warning in recwarn.list] == []


MENDED = {damaged_header: IMAGES, linked_class: IMAGES, odd_names: IMAGES + 2}


@pytest.mark.parametrize("spoil", [case[0] for case in ODD_FOLDERS], ids=lambda spoil: spoil.__name__)
def test_odd_folders_in_the_lessons(folder, spoil, recwarn):
    """What the lessons read is cleaned, or refused in one sentence; no other error comes through."""
    spoil(folder)
    with nullcontext() if spoil in MENDED else suppress(CourseError):
        clean = clean_image_folder(folder)
        assert len(image_folders.visible_files(clean)) >= MENDED.get(spoil, IMAGES)
    assert [str(warning.message) for warning in recwarn.list] == []


def lines(rows=None, head=HEAD, end="\n"):
    return end.join([head, *(ROWS if rows is None else rows)]).encode() + end.encode()


GERMAN = lines([row.replace('",', '";') for row in ROWS], "text;label")
TABBED = lines([row.replace('",', '"\t') for row in ROWS], "text\tlabel")
LINES_IN_QUOTES = lines([row.replace(" times", "\ntimes") for row in ROWS])
NUMBERED = lines([f"{i},{row}" for i, row in enumerate(ROWS)], f",{HEAD}")
SCORES = lines([row.replace("good", "1.0").replace("bad", "0.0") for row in ROWS])
MEASURED = lines([row.rsplit(",", 1)[0] + f",{i / 7}" for i, row in enumerate(ROWS)])
ODD_TABLES = {  # name: bytes of the file, how many texts can be used, what is said
    "mark of UTF-8, pandas-dev/pandas#4793": (b"\xef\xbb\xbf" + lines(), USABLE, ""),
    "UTF-16, HKUDS/Vibe-Trading#862": (lines().decode().encode("utf-16"), USABLE, ""),
    "semicolons": (GERMAN, USABLE, ""),
    "semicolons, announced": (b"sep=;\r\n" + GERMAN, USABLE, ""),
    "tabs": (TABBED, USABLE, ""),
    "quotes with lines": (LINES_IN_QUOTES, USABLE, ""),
    "NUL bytes, pandas-dev/pandas#19886": (lines().replace(b"times", b"ti\0mes"), USABLE, ""),
    "lines of Windows": (lines(end="\r\n"), USABLE, ""),
    "lines of old Macs": (lines(end="\r"), USABLE, ""),
    "mixed lines": (lines().replace(b"\n", b"\r\n", 9), USABLE, ""),
    "blank lines": (lines().replace(b"\n", b"\n\n", 9), USABLE, ""),
    "a column of numbers, pandas-dev/pandas#26446": (NUMBERED, USABLE, "Label: column 'label'"),
    "blanks around names": (lines(head=" text , label "), USABLE, ""),
    "labels 1.0, pandas-dev/pandas#20717": (SCORES, USABLE, "20 0, 20 1|20 1, 20 0"),
    "labels missing": (lines([*ROWS, '"no label",', '"nor here",nan']), USABLE, "2 rows have no label .*: 41; 42"),
    "texts missing": (lines([*ROWS, '" ",good']), USABLE, "1 rows have no text"),
    "other names of columns": (lines(head="Bericht,Urteil"), USABLE, "Text: column 'Bericht'. Label: column 'Urteil'"),
    "copies": (lines([*ROWS, ROWS[0]]), USABLE, "1 copies of other samples are left out.*: 41 = 1"),
    "copies with two labels": (lines([*ROWS, ROWS[0].replace("good", "bad")]), USABLE - 1, "with two labels.*: 41 = 1"),
    "another encoding, ScoutSuite#1696": (lines().replace(b"times", b"\xe9t\xe9"), None, "not in UTF-8"),
    "a workbook": (b"PK\x03\x04\x14\0" + bytes(99), None, "data.csv is a workbook .*save it as CSV"),
    "compressed": (gzip.compress(lines()), None, "data.csv is compressed: unpack it"),
    "JSON": (b'{"text": ["a", "b"], "label": [1, 2]}', None, "no line below its header|No column"),
    "no header": (lines(ROWS[1:], ROWS[0]), USABLE, "called 'column 1', 'column 2'"),
    "measurements": (MEASURED, None, "Two classes with 5 different samples .* 0 of 40 classes"),
    "labels by case": (lines([*ROWS, '"odd one",Good']), None, "The labels 'Good', 'good' .* differ by case only"),
    "one class": (lines([row.replace("bad", "good") for row in ROWS]), None, "1 of 1 classes have as many"),
    "nothing": (b"", None, "cannot be read as a table"),
}


@pytest.mark.parametrize("content, usable, said", ODD_TABLES.values(), ids=ODD_TABLES)
def test_odd_tables_of_texts(tmp_path, content, usable, said):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    if usable is None:
        with pytest.raises(CourseError, match=said):
            look_at(path)
        return
    found = look_at(path)
    assert sum(map(len, found.parts.values())) == usable
    assert not said or any(re.search(said, line) for line in found.findings), str(found)
