"""MNIST-M is built as published, and its parts share no photo pixel; USPS comes from the reader's file."""

import numpy as np
import pytest
from PIL import Image

from course_utils.data import load_mnist, load_mnist_m, load_mnist_m_folder, load_usps, mnist_m
from course_utils.data.dataset import PARTS
from course_utils.errors import CourseError


def test_counts_types_and_seed():
    split = load_mnist_m(seed=1)
    assert split.train.x.shape == (3000, 28, 28, 3) and split.train.x.dtype == np.uint8
    assert split.counts().to_numpy().tolist() == [[300, 100, 100]] * 10
    assert np.array_equal(split.test.x, load_mnist_m(seed=1).test.x)
    assert not np.array_equal(split.test.x, load_mnist_m(seed=2).test.x)


def test_seed_0_and_100_a_class_where_nothing_is_said(monkeypatch):
    photo = np.random.default_rng(0).integers(0, 256, (150, 40, 3), np.uint8)
    monkeypatch.setattr(mnist_m, "carried_photos", lambda: [photo])
    assert np.array_equal(load_mnist_m().test.x, load_mnist_m(seed=0).test.x)
    asked = []
    monkeypatch.setattr(mnist_m, "keep_folder", lambda name, made_of, write: asked.append((name, made_of)))
    for arguments in ((), (100, 0), (100, 1), (2, 0), (200, 0)):
        load_mnist_m_folder(*arguments)
    assert asked[0] == asked[1] and len({name for name, _ in asked}) == len({made_of for _, made_of in asked}) == 4


def test_patches_are_drawn_from_all_of_a_stripe_and_from_every_stripe():
    side, random = 4, np.random.default_rng(0)
    rows, columns = np.meshgrid(np.arange(6), np.arange(7), indexing="ij")
    place = np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)
    other = place + np.array([0, 0, 9], np.uint8)
    corners = mnist_m.blend(np.zeros((2000, side, side, 1), np.uint8), [place, other], random)[:, 0, 0]
    assert {tuple(map(int, corner)) for corner in corners} == {
        (r, c, k) for r in range(3) for c in range(4) for k in (0, 9)
    }


def test_a_folder_holds_the_images_of_each_part(monkeypatch, tmp_path):
    split = load_mnist_m(seed=0)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(mnist_m, "load_mnist_m", lambda seed: split)
    folder = load_mnist_m_folder(per_class=4, seed=0)
    counts = {part: len(list((folder / part).rglob("*.png"))) for part in PARTS}
    assert counts == {"train": 40, "validation": 20, "test": 20}
    first = sorted((folder / "test" / "7").glob("*.png"))[0]
    assert (
        np.array_equal(np.asarray(Image.open(first)), split.test.x[int(first.stem)])
        and split.test.y[int(first.stem)] == 7
    )


@pytest.mark.parametrize("per_class", [1, 201, True, 10.0])
def test_a_folder_of_an_impossible_size_is_refused(per_class):
    with pytest.raises(CourseError, match="whole number from 2 to 200"):
        load_mnist_m_folder(per_class)


def test_each_part_holds_the_digits_of_that_part(monkeypatch):
    black = np.zeros((150, 40, 3), np.uint8)  # |0 - digit| is the digit
    monkeypatch.setattr(mnist_m, "carried_photos", lambda: [black])
    split, mnist = load_mnist_m(seed=0), load_mnist(seed=0)
    for part in PARTS:
        blended, digits = getattr(split, part), getattr(mnist, part)
        found = sorted(zip(map(bytes, blended.x[..., 0]), blended.y, strict=True))
        wanted = sorted(zip(map(bytes, digits.x[..., 0]), digits.y, strict=True))
        assert found == wanted
    assert not np.array_equal(split.train.y, mnist.train.y)  # another order


def test_each_part_takes_its_own_stripe(monkeypatch):
    rows = np.arange(150)
    bounds = {part: [round(share * 150) for share in mnist_m.STRIPES[part]] for part in PARTS}
    levels = {part: 10 * (number + 1) for number, part in enumerate(PARTS)}
    photo = np.zeros((150, 40, 3), np.uint8)
    for part, (first, last) in bounds.items():
        photo[(rows >= first) & (rows < last)] = levels[part]
    monkeypatch.setattr(mnist_m, "carried_photos", lambda: [photo])
    split = load_mnist_m(seed=0)
    for part, level in levels.items():
        assert (getattr(split, part).x[:, 0, 0] == level).all()  # no ink in the corner


def test_blend_is_the_absolute_difference():
    photo = np.full((40, 50, 3), (10, 200, 255), np.uint8)
    digit = np.zeros((1, 28, 28, 1), np.uint8)
    digit[0, 5, 5] = 255
    image = mnist_m.blend(digit, [photo], np.random.default_rng(0))[0]
    assert image[5, 5].tolist() == [245, 55, 0] and image[0, 0].tolist() == [10, 200, 255]


def test_parts_share_no_row_of_a_photo():
    for photo in mnist_m.carried_photos():
        rows = np.repeat(np.arange(len(photo))[:, None], 2, axis=1)
        parts = [mnist_m.stripe(rows, part)[:, 0] for part in mnist_m.STRIPES]
        assert np.array_equal(np.concatenate(parts), np.arange(len(photo)))
        assert min(map(len, parts)) >= 28  # a patch fits


def usps_file(path, **changes):
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (40, 16, 16), np.uint8), "y_train": np.repeat(np.arange(10), 4),
        "x_test": random.integers(0, 256, (20, 16, 16), np.uint8), "y_test": np.repeat(np.arange(10), 2),
    }  # fmt: skip
    np.savez(path, **(arrays | changes))
    return path


def test_usps(tmp_path):
    split = load_usps(usps_file(tmp_path / "usps.npz"))
    assert split.train.x.shape == (30, 16, 16, 1) and len(split.validation.y) == 10 and len(split.test.y) == 20
    assert split.train.y.dtype == np.int64


def test_a_quarter_of_the_training_digits_of_usps_is_drawn_by_the_seed(tmp_path):
    path = usps_file(tmp_path / "usps.npz", y_train=np.tile(np.arange(10), 4))
    with np.load(path) as file:
        given = {image.tobytes(): label for image, label in zip(file["x_train"], file["y_train"], strict=True)}
        published = file["x_test"]
    drawn = []
    for seed in (None, 0, 1):
        split = load_usps(path) if seed is None else load_usps(path, seed)
        parts = [[image.tobytes() for image in part.x[..., 0]] for part in (split.train, split.validation)]
        assert sorted(parts[0] + parts[1]) == sorted(given)  # each in one part
        labels = [*split.train.y, *split.validation.y]
        assert labels == [given[image] for image in parts[0] + parts[1]]
        assert np.array_equal(split.test.x[..., 0], published) and split.card.title == "USPS"
        drawn.append(parts[1])
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(CourseError, match="^seed=-1 is impossible"):
        load_usps(path, -1)


def test_usps_refuses_other_files(tmp_path):
    (tmp_path / "text.npz").write_text("no array")
    for path in (tmp_path / "missing.npz", tmp_path / "text.npz"):
        with pytest.raises(CourseError, match="not the file of USPS"):
            load_usps(path)
    with pytest.raises(CourseError, match=r"x_test must be bytes .* of shape \(n, 16, 16\)"):
        load_usps(usps_file(tmp_path / "flat.npz", x_test=np.zeros((20, 256), np.uint8)))
    labels = np.repeat(np.arange(10), 2)
    for wrong in (labels + 1, labels / 2, labels[:-1], labels.astype(str)):
        with pytest.raises(CourseError, match="y_test must (be 20 whole numbers|hold every number from 0 to 9)"):
            load_usps(usps_file(tmp_path / "labels.npz", y_test=wrong))
    np.save(tmp_path / "array.npy", labels)
    with pytest.raises(CourseError, match="not the file of USPS"):
        load_usps(tmp_path / "array.npy")
