"""What a look at data finds: copies, near copies, leaks, groups; and what it leaves alone."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from course_utils.data import image_folders, inspection, load_openmoji
from course_utils.data.project import look_at
from course_utils.errors import CourseError

PARTS = ("train", "validation", "test")


def small(image):
    return np.asarray(image.resize((inspection.SIDE, inspection.SIDE), Image.Resampling.BILINEAR))


@pytest.fixture(scope="module")
def pictograms():
    return [Image.fromarray(x) for x in load_openmoji(size=64).train.x[:60]]


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, "jpeg", **options)
    return Image.open(file)


def test_copies_that_were_resized_darkened_or_compressed_are_near(pictograms):
    for change in (
        lambda image: image.resize((40, 40)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.85),
        lambda image: saved(image, quality=80),
    ):
        images = np.stack([small(image) for image in (*pictograms, *map(change, pictograms))])
        near = inspection.near_images(images)
        assert near.diagonal(60).astype(bool).mean() > 0.9


def test_different_images_are_not_near(pictograms):
    near = inspection.near_images(np.stack([small(image) for image in pictograms]))
    assert near.nnz / 2 <= 3 and near.diagonal().sum() == 0


def test_plain_images_are_no_noise_blown_up():
    plain = np.full((4, 16, 16, 3), 250, np.uint8)
    plain[1, 0, 0], plain[2:, :8] = 251, 20
    assert sorted(zip(*inspection.near_images(plain).nonzero(), strict=True)) == [(0, 1), (1, 0), (2, 3), (3, 2)]


def faint(values):
    """Two plain images, each a grey level brighter in so many of its 768 values."""
    images = np.full((2, 768), 128, np.uint8)
    images[0, :values] += 1
    images[1, -values:] += 1
    return images.reshape(2, 16, 16, 3)


def test_faint_images_are_near_up_to_a_bound():
    # Root mean square: (2 values / 768) ** 0.5 / FAINTEST, here 0.0699 and 0.0710.
    assert inspection.near_images(faint(30)).nnz == 2 and inspection.near_images(faint(31)).nnz == 0


def test_texts_with_another_word_are_near():
    long = "the parcel came late and the box was open but nothing was missing from it at all in the end"
    near = inspection.near_texts(pd.Series([long, long.replace("late", "early"), "the parcel came", "!!"]))
    assert sorted(zip(*near.nonzero(), strict=True)) == [(0, 1), (1, 0)]
    assert inspection.near_texts(pd.Series(["", " "])).nnz == 0


def test_groups_and_near_copies_are_joined_through_each_other():
    near = inspection.near_texts(pd.Series(["a b c", "d e f", "d e f", "g h i"]))
    assert inspection.joined(pd.Series(["x", "x", "y", "z"]), near).tolist() == [0, 0, 0, 1]


def test_a_fact_that_tells_the_class_is_a_leak_and_noise_is_none():
    random, labels = np.random.default_rng(0), pd.Series(["a", "b"] * 50)
    format_of = pd.DataFrame({"format": np.where(labels == "a", ".jpg", ".png"), "width": 9})
    assert inspection.told_by(format_of, labels) == 1
    noise = inspection.told_by(pd.DataFrame({"width": random.integers(0, 9, 100)}), labels)
    assert inspection.is_leak(1.0, labels) and not inspection.is_leak(noise, labels)


def bands(number):
    """Widths in so many bands, whose class alternates."""
    width = np.arange(20 * number) // 20
    return pd.DataFrame({"width": width}), pd.Series(np.where(width % 2, "b", "a"))


def test_a_fact_is_asked_for_two_ranges_a_class_and_no_more():
    assert inspection.told_by(*bands(4)) == 1 and inspection.told_by(*bands(6)) < 0.9


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    labels, wide = pd.Series(["b"] * 20 + ["a"] * 80), np.arange(100) < 45  # each "b" is wide, and 25 of "a"
    expected = (1 + 55 / 80) / 2
    assert inspection.told_by(pd.DataFrame({"width": wide}), labels) == pytest.approx(expected)
    texts = pd.Series(np.where(wide, "wide", "slim"))
    assert inspection.telling_word(texts, labels)[1] == pytest.approx(expected)


def test_held_out_rows_come_from_the_whole_table():
    """Told by its last fifth alone, the first would be told wrong."""
    labels, first = pd.Series(["a", "b"] * 50), np.arange(100) < 20
    facts = pd.DataFrame({"width": (labels == "a") ^ first, "first": first})
    assert inspection.told_by(facts, labels) == 1


def test_a_table_of_noise_is_told_the_same_each_time():
    labels = pd.Series(["a", "b"] * 20)
    facts = pd.DataFrame(np.random.default_rng(0).integers(0, 2, (40, 6)))
    texts = pd.Series([f"{word} mail" for word in np.where(labels == "a", "subject red", "hello")])
    assert len({inspection.told_by(facts, labels) for _ in range(8)}) == 1
    assert len({inspection.telling_word(texts, labels) for _ in range(8)}) == 1


@pytest.mark.parametrize(("classes", "bound"), [(2, 0.65), (4, 0.475)])
def test_a_leak_lies_three_tenths_of_the_way_above_chance(classes, bound):
    labels = pd.Series(range(classes))
    assert inspection.is_leak(bound + 1e-9, labels) and not inspection.is_leak(bound - 1e-9, labels)


def test_a_word_that_tells_the_class_is_named():
    labels = pd.Series(["spam", "ham"] * 30)
    texts = pd.Series([f"mail {i} {'subject' if label == 'spam' else 'hello'}" for i, label in enumerate(labels)])
    assert inspection.telling_word(texts, labels) in {("subject", 1.0), ("hello", 1.0)}
    assert inspection.telling_word(pd.Series(["a"] * 60), labels) == ("", 0.0)


def test_one_word_a_class_is_asked_whether_it_is_there():
    labels = pd.Series(["a", "b"] * 40)
    twice = pd.Series(["mail", "mail mail"] * 40)
    assert inspection.telling_word(twice, labels) == ("", 0.5)  # how often it is there is not asked
    either = pd.Series(["good", "bad", "fine", "poor"] * 20)
    assert inspection.telling_word(either, labels)[1] < 0.8  # two words would tell all


def noise(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8))


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Writes images of noise, each from the number in its place, to a folder."""
    monkeypatch.setattr(image_folders, "cache_dir", lambda: tmp_path / "cache")

    def write(seeds):
        for name, seed in seeds.items():
            (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
            noise(seed).save(tmp_path / "own" / name)
        return tmp_path / "own"

    return write


def test_the_folder_has_the_order_and_labels_of_the_tables(own):
    found = look_at(own({f"{'ab'[i % 2]}/{i}.png": i for i in range(40)}), 32)
    assert found.class_names == ["a", "b"] and [len(found.parts[part]) for part in PARTS] == [24, 8, 8]
    for part, table in found.parts.items():
        written = image_folders.visible_files(found.folder / part)
        assert [path.name for path in written] == [x.rpartition("/")[2] for x in table["x"]]
        assert [path.parent.name for path in written] == table["label"].tolist()
        for path, file in zip(written, table["file"], strict=True):
            resized = noise(int(file[2:-4])).resize((32, 32), Image.Resampling.BILINEAR)
            assert np.array_equal(np.asarray(Image.open(path)), np.asarray(resized))


def test_a_project_is_told_line_by_line_and_its_tables_have_their_columns(own):
    folder = own({f"{'ab'[i % 2]}/{i}.png": i for i in range(20)})
    found = look_at(folder)
    assert str(found).splitlines() == [f"- {sentence}" for sentence in found.findings] and found.column == ""
    with Image.open(next(found.folder.rglob("*.png"))) as image:
        assert image.size == (96, 96)
    for table in found.parts.values():
        assert {"file", "x", "label", "y", "group"} <= set(table) and "index" not in table
        assert table["y"].map(found.class_names.__getitem__).tolist() == table["label"].tolist()
        assert table.index.tolist() == list(range(len(table)))
    assert (found == look_at(folder)) is False  # tables are not compared


def test_a_seed_decides_the_split_of_a_project(own):
    folder = own({f"{'ab'[i % 2]}/{i}.png": i for i in range(40)})
    tests = [set(look_at(folder, 32, seed=seed).parts["test"]["file"]) for seed in (0, 1)]
    assert tests[0] != tests[1] and tests[0] == set(look_at(folder, 32).parts["test"]["file"])


def test_groups_stay_in_one_part(own):
    seeds = {f"{'ab'[i % 2]}/p{i // 4}/{i}.png": i for i in range(80)}
    found = look_at(own(seeds), 32)
    parts = {part: {file.split("/")[1] for file in table["file"]} for part, table in found.parts.items()}
    assert sum(map(len, parts.values())) == 20 and "20 groups are kept together" in str(found)


def test_groups_stay_in_one_part_beside_a_class_that_is_left_out(own):
    seeds = {f"{'ab'[i % 2]}/p{i // 4}/{i}.png": i for i in range(80)}
    found = look_at(own(seeds | {"rare/p0/1000.png": 1000, "rare/p1/1001.png": 1001}), 32)
    assert "22 groups are kept together" not in str(found) and "20 groups are kept together" in str(found)
    assert "1 classes have fewer than 5 different samples, or groups; left out: rare (2)" in str(found)
    parts = {part: {file.split("/")[1] for file in table["file"]} for part, table in found.parts.items()}
    assert sum(map(len, parts.values())) == 20


def test_groups_that_a_class_has_too_few_of_are_told(own):
    found = look_at(own({f"{'ab'[i % 2]}/{'p' if i % 2 else i // 4}/{i}.png": i for i in range(80)}), 32)
    assert "The groups are not kept together: b has fewer than 5 of them." in str(found)


def test_images_of_a_class_may_lie_in_it_and_in_subfolders(own):
    """So come the sorted photos of a patient beside those of others."""
    loose = {f"{name}/{i}.png": 100 * k + i for k, name in enumerate("ab") for i in range(5)}
    deep = {f"{name}/patient1/{i}.png": 1000 + 100 * k + i for k, name in enumerate("ab") for i in range(20)}
    found = look_at(own(loose | deep), 32, group="")
    assert found.findings[0].startswith("50 images can be used. 2 classes: 25 a, 25 b")
    parts = [part for part, table in found.parts.items() if table["file"].str.contains("patient1").any()]
    assert len(parts) == 1 and "1 groups are kept together" in str(found)


def test_names_that_look_like_sources_are_told_and_used_when_asked(own):
    folder = own({f"{'ab'[i % 2]}/person{i // 4}_{i}.png": i for i in range(80)})
    assert "20 beginnings of names, as of a/person0_0.png" in str(look_at(folder, 32))
    found = look_at(folder, 32, group="name")
    parts = {part: {file[2:].split("_")[0] for file in table["file"]} for part, table in found.parts.items()}
    assert sum(map(len, parts.values())) == 20


def test_numbers_that_each_class_begins_anew_are_no_sources(own):
    found = look_at(own({f"{'abc'[i % 3]}/{i // 3}.png": i for i in range(60)}), 32)
    assert "beginnings of names" not in str(found)


def test_a_given_split_stays_and_its_leaks_are_told(own):
    seeds = {
        f"{part}/{'ab'[i % 2]}/{part}{i}.png": 100 * k + i
        for k, part in enumerate(("train", "test"))
        for i in range(20)
    }
    found = look_at(own(seeds | {"train/a/leak.png": 100}), 32)
    assert "1 of these copies lay in two parts of the given split: a leak: train/a/leak.png = test/a/test0.png" in str(
        found
    )
    assert "near copies in two parts" in str(found).partition("not found")[2]
    assert set(found.parts["test"]["file"]) == {name for name in seeds if name.startswith("test")}
    assert "no validation part: a fifth of train" in str(found) and len(found.parts["validation"]) == 4


def test_partners_are_named_some_in_the_sentence_and_all_in_the_table(own):
    seeds = {f"{'ab'[i % 2]}/{i}.png": i for i in range(40)}
    copies = {f"a/copy{i}.png": i for i in range(0, 10, 2)}
    found = look_at(own(seeds | copies | {"b/contradicts.png": 20}), 32)
    assert "5 copies of other samples are left out, of each pair the first: a/copy0.png = a/0.png; " in str(found)
    assert "a/copy4.png = a/4.png; 2 more." in str(found)
    assert "2 samples are there with two labels; none of them is used: b/contradicts.png = a/20.png." in str(found)
    assert found.pairs.index.tolist() == list(range(6)) and list(found.pairs) == ["finding", "file", "other"]
    told = found.pairs.groupby("finding")[["file", "other"]].agg(list)
    assert told.loc["copies", "file"] == sorted(copies) and told.loc["copies", "other"] == [
        f"a/{i}.png" for i in copies.values()
    ]


def test_what_was_looked_for_in_vain_is_told_in_one_line(own, tmp_path):
    found = look_at(own({f"{'ab'[i % 2]}/{i}.png": i for i in range(40)}), 32)
    assert found.findings[1] == (
        "Looked for and not found: unreadable files; samples with two labels; copies; near copies; "
        "width, height and format that tell the class."
    )
    assert (
        found.findings[2] == "Split, cut with seed 0: 24 to train, 8 to choose, 8 to test once." and found.pairs.empty
    )
    (tmp_path / "own" / "a" / "broken.png").write_text("no image")
    own({"a/copy.png": 0})
    line = next(line for line in look_at(tmp_path / "own", 32).findings if line.startswith("Looked for"))
    assert line.startswith("Looked for and not found: samples with two labels; near copies; width")


def test_a_changed_image_is_read_again(own):
    folder = own({f"{'ab'[i % 2]}/{i}.png": i for i in range(20)})
    before = look_at(folder, 32)
    own({"a/0.png": 999})
    after = look_at(folder, 32)
    contents = [set(pd.concat(found.parts)["content"]) for found in (before, after)]
    assert len(contents[0] - contents[1]) == 1 and before.folder != after.folder


def test_columns_of_a_table_are_found_or_named(tmp_path):
    words = ["good", "fine", "bad", "poor"]
    rows = [
        [f"{i}", f"this one is {words[i % 4]} number {i}", "x" if i % 4 < 2 else "z", f"u{i // 5}"] for i in range(100)
    ]
    table = pd.DataFrame(rows, columns=["id", "Body", "stars", "author_id"])
    table.to_csv(tmp_path / "own.csv", index=False)
    found = look_at(tmp_path / "own.csv")
    assert found.findings[1] == "Text: column 'Body'. Label: column 'stars'. Groups: 'author_id'."
    assert found.column == "Body" and found.folder is None and "20 groups are kept together" in str(found)
    assert look_at(tmp_path / "own.csv", label="stars", group="id").kind == "texts"
    table.assign(split=["train"] * 60 + ["test"] * 40).to_csv(tmp_path / "own.csv", index=False)
    assert len(look_at(tmp_path / "own.csv").parts["test"]) == 40
    with pytest.raises(CourseError, match="no column 'score'; it has 'id', 'Body', 'stars'"):
        look_at(tmp_path / "own.csv", label="score")


def test_a_column_with_one_value_is_no_group(tmp_path):
    rows = [(f"this one has the number {i}", "xz"[i % 2], "OurAirports", f"u{i // 4}") for i in range(40)]
    table = pd.DataFrame(rows, columns=["text", "label", "source", "user"])
    table.to_csv(tmp_path / "own.csv", index=False)
    assert look_at(tmp_path / "own.csv").findings[1] == "Text: column 'text'. Label: column 'label'. Groups: 'user'."
    table.drop(columns="user").to_csv(tmp_path / "own.csv", index=False)
    assert look_at(tmp_path / "own.csv").findings[1] == "Text: column 'text'. Label: column 'label'."


def test_what_cannot_be_a_project_gets_one_sentence(own, tmp_path):
    folder = own({f"{'ab'[i % 2]}/{i}.png": i for i in range(8)})
    for data, options, message in (
        (tmp_path / "nowhere", {}, "There is no file at .*nowhere"),
        (folder, {}, "Two classes with 5 different samples .* 0 of 2 classes"),
        (folder, {"group": "person"}, 'GROUP is "name", or empty'),
        (folder, {"size": 8}, "size=8 is impossible"),
        (folder / "a", {}, "has 0 subfolders"),
    ):
        with pytest.raises(CourseError, match=message):
            look_at(data, **options)
