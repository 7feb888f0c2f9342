"""Each loader gives the stated counts, shapes and types, and refuses what it cannot read."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFont

from course_utils.data import (
    fetch,
    load_imagenet_photos,
    load_mnist,
    load_openmoji,
    load_sentiment,
    load_uci_digits,
    openmoji,
    sentiment,
    sentiment_csv,
    sentiment_ratings,
)
from course_utils.data.catalog import find_asset
from course_utils.data.dataset import Card, DataSplit, Samples
from course_utils.data.photos import read_upright
from course_utils.errors import CourseError

PARTS = ("train", "validation", "test")


def all_samples(split):
    return [np.concatenate([getattr(split, part)[i] for part in PARTS]) for i in range(2)]


def test_mnist():
    split = load_mnist()
    assert split.train.x.shape == (3000, 28, 28, 1) and split.train.x.dtype == np.uint8
    assert split.counts().to_numpy().tolist() == [[300, 100, 100]] * 10
    x, y = all_samples(split)
    assert x.max() == 255 and y.dtype == np.int64
    ones, zeros = (x[y == digit].mean() for digit in (1, 0))
    assert ones < zeros / 2  # a one takes less ink than a zero
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == 5000  # none in two parts


def test_uci_digits():
    split = load_uci_digits()
    x, y = all_samples(split)
    assert x.shape == (1797, 8, 8, 1) and x.dtype == np.uint8 and y.dtype == np.int64
    assert (x.min(), x.max()) == (0, 255)
    assert len(split.train.y) == 1077 and split.class_names == tuple("0123456789")


def test_openmoji():
    split = load_openmoji(size=64)
    x, y = all_samples(split)
    assert x.shape[1:] == (64, 64, 3) and x.dtype == np.uint8 and y.dtype == np.int64
    sizes = split.counts().sum(axis=1).to_dict()
    assert sizes == {
        "animal": 131, "building": 41, "clothing": 42, "face": 104, "food": 126, "plant": 34,
        "sport and music": 41, "vehicle": 54,
    }  # fmt: skip
    assert split.counts()["train"].min() >= 20
    assert "CC BY-SA 4.0" in repr(split) and "OpenMoji" in split.card.citation


def test_openmoji_images_are_whole_centred_and_unique():
    x, _ = all_samples(load_openmoji(size=64))
    font = ImageFont.truetype(fetch("openmoji"), 49, layout_engine=ImageFont.Layout.BASIC)
    missing = openmoji._draw(chr(0x10FFFF), font, 64)  # what the font draws for want of a glyph
    assert len({image.tobytes() for image in [*x, missing]}) == len(x) + 1
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    assert (x[:, border] == 255).all()
    ink = (x < 255).any(axis=3)
    for axis in (1, 2):
        lines = ink.any(axis=axis)
        margins = lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
        assert np.abs(margins).max() <= 1
    assert ink.mean(axis=(1, 2)).min() > 0.02


def test_imagenet_photos():
    photos = load_imagenet_photos(size=64)
    assert photos.x.shape == (20, 64, 64, 3) and photos.x.dtype == np.uint8
    assert photos.y.dtype == np.int64
    assert photos.y.tolist()[:4] == [243, 559, 438, 990] and len(set(photos.y)) == 19
    assert photos.x[17].mean() > 50  # not black
    assert load_imagenet_photos().x.shape == (20, 224, 224, 3)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_an_image_with_too_many_bits_is_refused_and_one_with_16_keeps_its_upper_half(tmp_path, kind):
    Image.fromarray(np.full((3, 4), 256 * 200 + 3, np.uint16)).save(tmp_path / "16.png")
    assert (np.asarray(read_upright(tmp_path / "16.png")) == 200).all()
    Image.fromarray(np.full((3, 4), 70000, kind)).save(tmp_path / "32.tif")
    with pytest.raises(CourseError, match="32.tif has more than 16 bits a channel"):
        read_upright(tmp_path / "32.tif")


def test_damaged_notes_of_a_camera_are_passed_over_without_a_word(tmp_path, recwarn):
    note = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\xff\x00\x00\x00\xff\xff\x00\x00"
    Image.new("RGB", (3, 4), "red").save(tmp_path / "a.jpg", exif=note)
    assert read_upright(tmp_path / "a.jpg").size == (3, 4) and not recwarn.list
    with pytest.warns(UserWarning), Image.open(tmp_path / "a.jpg") as image:  # as Pillow by itself does
        image.getexif()


@pytest.mark.parametrize(
    ("domain", "counts"),
    [
        ("movie", (5061, 562, 4982)),
        ("tweets", (1062, 838, 2300)),
        ("amazon", (1218, 765, 1725)),
        ("nyt", (1688, 2402, 1100)),
    ],
)
def test_sentiment_counts(domain, counts):
    three, two = load_sentiment(domain, classes=3), load_sentiment(domain)
    assert tuple(three.counts().sum(axis=1)) == counts
    assert tuple(two.counts().sum(axis=1)) == (counts[0], counts[2])
    assert two.class_names == ("negative", "positive") and two.train.y.dtype == np.int64
    texts, _ = all_samples(two)
    assert texts.dtype == object and all(isinstance(text, str) and text.strip() for text in texts)
    assert 0.58 < len(two.train.y) / len(texts) < 0.62
    share = [np.mean(getattr(two, part).y) for part in PARTS]
    assert np.ptp(share) < 0.02


def test_sentiment_parts_share_no_document(monkeypatch):
    texts = np.array([f"{n // 4}" for n in range(400)], dtype=object)
    names = [f"{n // 4}_{n % 4}" for n in range(400)]
    ratings = np.where(np.arange(400) % 2, 1.0, -1.0)
    monkeypatch.setattr(sentiment, "_read_domain", lambda domain: (names, ratings, texts))
    documents = [set(getattr(load_sentiment("nyt"), part).x) for part in PARTS]
    assert sum(map(len, documents)) == len(set.union(*documents)) == 100
    documents = [set(getattr(load_sentiment("movie"), part).x) for part in PARTS]
    assert sum(map(len, documents)) > 100  # single sentences: no document to keep whole


@pytest.fixture
def rated(monkeypatch, tmp_path):
    """Sentences whose ratings are on the bounds between the classes, and just beyond them; four to a document."""
    ratings = np.array([-0.501, -0.5, 0.5, 0.501] * 40)
    texts = np.array([f"sentence {i} rated {rating}" for i, rating in enumerate(ratings)], object)
    names = [f"{i // 4}_{i % 4}" for i in range(160)]
    for module in (sentiment, sentiment_csv, sentiment_ratings):
        monkeypatch.setattr(module, "_read_domain", lambda domain: (names, ratings, texts))
    monkeypatch.setattr(sentiment_csv, "cache_dir", lambda: tmp_path)
    return dict(zip(texts, ratings, strict=True))


def test_a_rating_of_exactly_a_half_is_neutral(rated):
    of_classes = {2: {-0.501: 0, 0.501: 1}, 3: {-0.501: 0, -0.5: 1, 0.5: 1, 0.501: 2}}
    for classes, numbers in of_classes.items():
        x, y = all_samples(load_sentiment("movie", classes))
        assert [numbers[rated[text]] for text in x] == y.tolist() and len(y) == 40 * len(numbers)
        table = pd.read_csv(sentiment_csv.write_sentiment_csv("movie", classes))
        names = sentiment.CLASS_NAMES[classes]
        assert [names[numbers[rated[text]]] for text in table["text"]] == table["label"].tolist()
        assert table["document"].tolist() == [int(text.split()[1]) // 4 for text in table["text"]]
    texts, ratings = sentiment_ratings.load_ratings("movie")
    assert [rated[text] for text in texts] == ratings.tolist() and len(texts) == 160


def test_two_classes_seed_0_and_amazon_where_nothing_is_said(rated):
    for domain in ("movie", "amazon"):
        tests = [load_sentiment(domain, 2, seed).test.x.tolist() for seed in (0, 1)]
        assert load_sentiment(domain).test.x.tolist() == tests[0] != tests[1]
        assert load_sentiment(domain).card.note == f"Domain: {domain}."
    paths = [sentiment_csv.write_sentiment_csv(*given) for given in ((), ("amazon", 2), ("amazon", 3), ("nyt", 2))]
    assert paths[0] == paths[1] and len(set(paths)) == 3 and paths[2].parent.name == "tables"


@pytest.mark.parametrize("load", [load_mnist, load_uci_digits, lambda seed: load_openmoji(32, seed)])
def test_seed_decides_the_split(load):
    first, again, other = load(seed=0), load(seed=0), load(seed=1)
    assert np.array_equal(first.test.x, again.test.x) and np.array_equal(first.test.y, again.test.y)
    assert not np.array_equal(first.test.x, other.test.x)


@pytest.mark.parametrize("load", [load_mnist, load_uci_digits, load_openmoji])
def test_seed_0_where_nothing_is_said(load):
    sizes = {} if load is not load_openmoji else {"size": 16}
    assert np.array_equal(load(**sizes).test.x, load(**sizes, seed=0).test.x)


def test_pictograms_have_128_pixels_a_side_where_nothing_is_said():
    assert load_openmoji().test.x.shape[1:] == (128, 128, 3)
    assert openmoji.expand_ranges("1F400-1F402 1F43F") == [0x1F400, 0x1F401, 0x1F402, 0x1F43F]


def test_bad_arguments_are_refused():
    with pytest.raises(CourseError, match="'books'; accepted are movie, tweets, amazon, nyt"):
        load_sentiment("books")
    with pytest.raises(CourseError, match="classes must be 2 or 3; got 5"):
        load_sentiment("movie", classes=5)
    with pytest.raises(CourseError, match="^size=8 is impossible: give a whole number, at least 16"):
        load_openmoji(size=8)
    with pytest.raises(CourseError, match="^size=0 is impossible: give a whole number, at least 1"):
        load_imagenet_photos(size=0)


def test_a_card_tells_where_its_data_come_from():
    mnist, chests = find_asset("mnist"), find_asset("pneumonia_mnist")
    assert Card.of_asset("mnist").source == f"{mnist.about} From the package {mnist.package} {mnist.version}."
    assert Card.of_asset("pneumonia_mnist").source == f"{chests.about} From {chests.url}."
    assert Card.of_asset("uci_digits").source.endswith(" From the package scikit-learn.")
    assert Card.of_asset("mnist").note == "" and Card.of_asset("mnist", "Half of it.").note == "Half of it."
    assert Card("a", "b", "c", "d").note == ""


def test_a_data_set_counts_all_its_classes_and_shows_its_card():
    parts = [Samples(np.zeros((len(y), 1)), np.array(y)) for y in ([0, 2, 2], [0, 1], [1])]
    split = DataSplit(*parts, ("cat", "dog", "fox"), Card("Pets & co", "From <home>", "CC0", "Someone (2020)"))
    assert split.counts().to_dict("list") == {"train": [1, 0, 2], "validation": [1, 1, 0], "test": [0, 1, 0]}
    assert split.counts().index.name == "class" and list(split.counts().index) == ["cat", "dog", "fox"]
    assert repr(split) == "Pets & co: 3 train, 2 validation, 1 test; 3 classes; licence: CC0"
    page = split._repr_html_()
    assert page.startswith("<b>Pets &amp; co</b><br>From &lt;home&gt;<br>Licence: CC0<br>Someone (2020)<table")
    assert (split == DataSplit(*parts, split.class_names, split.card)) is False  # arrays are not compared
    with pytest.raises(AttributeError):
        split.train = split.test
