"""The questions that a look asks of a table, each on both sides of its bound; no file is read."""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from course_utils.data import inspection, project_checks
from course_utils.data.inspection import balance, is_leak, near_images, near_texts, telling_word, told_by
from course_utils.data.project_checks import (
    leaks,
    not_found,
    with_groups,
    with_parts,
    without_copies,
    without_rare_classes,
)
from course_utils.data.project_images import name_of_source, named
from course_utils.errors import CourseError


def table_of(labels, **columns):
    """A table as the readers make it, of texts that share no word unless they are given."""
    n = len(labels)
    names = [f"{i}.txt" for i in range(n)]
    words = [f"a{i} b{i} c{i} d{i}" for i in range(n)]
    plain = {"file": names, "x": words, "label": labels, "part": "", "group": "", "content": words}
    return pd.DataFrame(plain | columns)


@pytest.mark.parametrize(
    ("parts", "stays"),
    [
        (("", ""), 0),
        (("train", "test"), 1),
        (("train", "validation"), 1),
        (("validation", "test"), 1),
        (("test", "train"), 0),
    ],
)
def test_of_copies_the_one_that_is_judged_by_stays(parts, stays):
    table, small = table_of(["a", "a", "b"], part=[*parts, ""], content=["x", "x", "y"]), np.arange(3)
    left, small, told, pairs = without_copies(table, small)
    assert left["file"].tolist() == [f"{stays}.txt", "2.txt"] and small.tolist() == [stays, 2]
    assert left.index.tolist() == [0, 1]
    found = ["copies"] if parts[0] == parts[1] else ["copies", "copies in two parts"]
    assert list(told) == found == pairs["finding"].tolist()
    assert pairs[["file", "other"]].drop_duplicates().to_numpy().tolist() == [[f"{1 - stays}.txt", f"{stays}.txt"]]
    assert told["copies"] == (
        f"1 copies of other samples are left out, of each pair the first: {1 - stays}.txt = {stays}.txt."
    )


def test_samples_with_two_labels_are_both_left_out_and_are_no_copies():
    table = table_of(["a", "b", "b", "a"], content=["x", "x", "y", "y2"])
    left, small, told, pairs = without_copies(table, None)
    assert left["file"].tolist() == ["2.txt", "3.txt"] and small is None and list(told) == ["samples with two labels"]
    assert told["samples with two labels"].startswith("2 samples") and len(pairs) == 1
    assert without_copies(left, None)[2] == {} and without_copies(left, None)[3].empty


def test_near_copies_are_told_once_with_what_is_wrong_about_them():
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    texts = [long, long + " fifteen", "other words", "more of them"]
    table, told, pairs = with_groups(table_of(["a", "b", "a", "b"], x=texts), None, False)
    assert list(told) == ["near copies", "near copies with two labels"] and len(pairs) == 2
    assert told["near copies"] == "1 pairs are near copies; a pair stays in one part (0.txt = 1.txt)."
    assert table["group"].tolist() == [0, 0, 1, 2]
    split = table_of(["a", "a", "a", "b"], x=texts, part=["train", "test", "train", "test"])
    _, told, _ = with_groups(split, None, False)
    assert list(told) == ["near copies", "near copies in two parts"]
    assert told["near copies"] == "1 pairs are near copies (0.txt = 1.txt)."
    _, told, _ = with_groups(split.assign(part="train"), None, False)
    assert list(told) == ["near copies"]


@pytest.mark.parametrize(("groups", "asked", "kept"), [(5, False, True), (4, False, False), (4, True, True)])
def test_groups_are_kept_together_where_five_of_each_class_remain_or_it_was_asked(groups, asked, kept):
    """Of twenty samples of each class; a class of fewer groups could not be split."""
    labels = np.repeat(["a", "b"], 20)
    own = [f"{label}{i % (groups if label == 'b' else 10)}" for i, label in enumerate(labels)]
    table, told, _ = with_groups(table_of(labels, group=own), None, asked)
    assert table["group"].nunique() == (10 + groups if kept else 40)
    assert told["groups"] == (
        f"{10 + groups} groups are kept together in the split."
        if kept
        else "The groups are not kept together: b has fewer than 5 of them."
    )


def test_groups_of_one_sample_each_are_not_worth_a_word():
    table = table_of(["a", "b"] * 5, group=[f"g{i}" for i in range(10)])
    assert "groups" not in with_groups(table, None, False)[1]
    assert "10 groups" in with_groups(table, None, True)[1]["groups"]
    assert "groups" not in with_groups(table_of(["a", "b"] * 5), None, True)[1]


def test_a_class_needs_five_groups():
    labels = np.repeat(["a", "b", "c"], [5, 6, 4])
    left, told = without_rare_classes(table_of(labels, group=range(15)))
    assert set(left["label"]) == {"a", "b"} and left.index.tolist() == list(range(11))
    assert told["rare classes"].endswith("have fewer than 5 different samples, or groups; left out: c (4).")
    assert without_rare_classes(left)[1] == {}
    with pytest.raises(CourseError, match="Two classes with 5 .* 1 of 2 classes have as many"):
        without_rare_classes(table_of(np.repeat(["a", "b"], [9, 5]), group=[*range(9), 9, 10, 11, 12, 12]))


@pytest.mark.parametrize(
    ("sources", "each", "told"),
    [(10, 8, False), (11, 8, True), (20, 3, True), (20, 2, False)],  # more than ten, and of more than two samples
)
def test_names_that_share_a_beginning_are_told_where_they_may_be_sources(sources, each, told):
    n = sources * each
    random = np.random.default_rng(0)
    facts = {"width": random.integers(9, size=n), "height": 9, "format": ".png"}
    files = [f"a/p{i // each}_{i}.png" for i in range(n)]
    table = table_of([["a", "b"][i % 2] for i in range(n)], file=files, group=range(n), **facts)
    found = leaks(table, "images")
    assert ("sources" in found) == told
    if told:
        assert found["sources"].startswith(f"{sources} beginnings of names, as of a/p0_0.png")
        assert "sources" not in leaks(table.assign(group=table["group"] // each), "images")  # they are groups already


def test_what_tells_the_class_beside_the_content_is_named():
    labels = ["a", "b"] * 20
    random = np.random.default_rng(0)
    noise = {"width": random.integers(9, size=40), "height": 9, "format": ".png"}
    assert leaks(table_of(labels, group=range(40), **noise), "images") == {}
    formats = {"width": 9, "height": 9, "format": [".png", ".jpg"] * 20}
    assert list(leaks(table_of(labels, group=range(40), **formats), "images")) == [
        "width, height and format that tell the class"
    ]
    for other in (
        {"width": [8, 9] * 20, "height": 9, "format": ".png"},
        {"width": 9, "height": [8, 9] * 20, "format": ".png"},
    ):
        assert "tell the class: balanced accuracy 1.00, chance 0.50" in str(leaks(table_of(labels, **other), "images"))
    letters = ["xyz", "zyx"]  # no word is in five texts
    plain = [f"{letters[i % 2]}{letters[i // 2 % 2]}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(40)]
    assert leaks(table_of(labels, x=plain), "texts") == {}
    for i, changed in enumerate(
        (
            [text + "zzz" * (label == "a") for text, label in zip(plain, labels, strict=True)],
            [text.upper() if label == "a" else text for text, label in zip(plain, labels, strict=True)],
            [text[:-1] + "7" if label == "a" else text for text, label in zip(plain, labels, strict=True)],
            [text[:3] + " " + text[4:] if label == "a" else text for text, label in zip(plain, labels, strict=True)],
        )
    ):
        assert "length, capitals and digits that tell the class" in leaks(table_of(labels, x=changed), "texts"), i
    words = [f"{text} {'spam' if label == 'a' else 'mail'}" for text, label in zip(plain, labels, strict=True)]
    told = leaks(table_of(labels, x=words), "texts")["words that tell the class"]
    assert told.startswith(("A leak? Asking for 'spam'", "A leak? Asking for 'mail'")) and "accuracy 1.00" in told


def test_what_was_sought_in_vain_depends_on_what_there_is():
    images, texts = not_found({}, "images", False)["not found"], not_found({}, "texts", True)["not found"]
    assert "unreadable files" in images and "in two parts" not in images and "words" not in images
    assert "rows without label" in texts and "copies in two parts; near copies in two parts" in texts
    everything = dict.fromkeys(images.removeprefix("Looked for and not found: ").removesuffix(".").split("; "), "")
    assert not_found(everything, "images", False) == {}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((), ()),
        (("train", "test"), ("validation",)),
        (("train", "validation"), ("test",)),
        (("train",), ("validation", "test")),
    ],
)
def test_only_what_is_missing_is_cut(given, missing):
    n = 60
    part = [given[i // 2 % len(given)] if given else "" for i in range(n)]
    table = table_of(["a", "b"] * (n // 2), part=part, group=range(n))
    split, told = with_parts(table, 0)
    for name in given[1:]:
        assert (split["part"] == name).tolist() == [p == name for p in part]
    train = part.count("train") if given else n
    for name in missing:
        assert (split["part"] == name).sum() == train // 5
        assert told[name] == f"The given split has no {name} part: a fifth of train serves as such."
    assert set(told) == {"split", *missing}
    assert "cut with seed 0" in told["split"]
    assert [with_parts(table, seed)[0]["part"].equals(split["part"]) for seed in (0, 1)] == [True, False]


def test_a_whole_split_stays_as_it_was_given_and_needs_every_class_in_every_part():
    part = ["train"] * 20 + ["validation"] * 4 + ["test"] * 6
    table = table_of(["a", "b"] * 15, part=part, group=range(30))
    split, told = with_parts(table, 0)
    assert split["part"].tolist() == part
    assert told == {"split": "Split, as it was given: 20 to train, 4 to choose, 6 to test once."}
    with pytest.raises(CourseError, match="The class b has no sample in the part validation"):
        with_parts(
            table.assign(label=["a" if p == "validation" else c for p, c in zip(part, table["label"], strict=True)]), 0
        )


def test_many_samples_are_split_in_bundles_and_groups_stay_whole(monkeypatch):
    given, split = [], project_checks.stratified_split
    monkeypatch.setattr(
        project_checks, "stratified_split", lambda y, groups, seed: given.append(groups) or split(y, groups, seed)
    )
    labels = ["a"] * 2500 + ["b"] * 90 + ["a", "b"] * 5
    groups = [*range(2590), *np.repeat(range(3000, 3005), 2)]  # the last ten are five pairs
    table = table_of(labels, group=groups)
    parts = with_parts(table, 0)[0]["part"]
    assert len(set(given[0])) == 834 + 90 + 5  # three samples to a bundle of a; b and the pairs as they are
    assert given[0][2500:].tolist() == groups[2500:]
    assert (parts[2590::2].to_numpy() == parts[2591::2].to_numpy()).all()
    for label, count in (("a", 2505), ("b", 95)):
        sizes = parts[table["label"] == label].value_counts()
        assert sizes[["validation", "test"]].tolist() == pytest.approx([count / 5] * 2, abs=3)


def test_three_names_are_shown_and_the_others_counted():
    assert named(["a", "b", "c"]) == "a; b; c" and named(["a", "b", "c", "d", "e"]) == "a; b; c; 2 more"


@pytest.mark.parametrize(
    ("file", "source"),
    [("a/p1_2.png", "p1"), ("p-1-2.jpg", "p-1"), ("p_1-2.jpg", "p_1"), ("p1.png", "p1"), ("a_b/p1.png", "p1")],
)
def test_the_name_of_a_source_ends_before_the_last_number(file, source):
    assert name_of_source(file) == source


def test_a_leak_is_what_closes_three_tenths_of_the_gap():
    two, four = pd.Series(["a", "b"]), pd.Series(list("abcd"))
    assert [is_leak(score, two) for score in (0.649, 0.651)] == [False, True]
    assert [is_leak(score, four) for score in (0.474, 0.476)] == [False, True]


def test_a_balance_names_twelve_classes_and_the_largest():
    even = pd.Series([f"c{i:02d}" for i in range(12)] * 2)
    assert balance(even).startswith("12 classes: 2 c00, 2 c01") and "more" not in balance(even)
    assert " and 1 more. Always saying c00 would be right for 8%." in balance(
        pd.Series([f"c{i:02d}" for i in range(13)])
    )
    uneven = [pd.Series(["a"] * n + ["b"] * 20) for n in (30, 31)]
    assert "times as many" not in balance(uneven[0]) and "has 1.6 times as many as the smallest." in balance(uneven[1])
    assert balance(uneven[1]).endswith("Always saying a would be right for 61%.")


@pytest.mark.parametrize(("share", "near"), [(0.06, 2), (0.08, 0)])
def test_images_are_near_up_to_a_bound(share, near):
    random = np.random.default_rng(0)
    image = random.normal(128, 40, (16, 16, 3))
    other = image + random.normal(0, 40 * share, image.shape)
    both = np.stack([image, other]).clip(0, 255).round().astype(np.uint8)
    assert near_images(both).nnz == near
    assert (
        near_images(np.stack([both[0], (both[0] * 0.5 + 20).astype(np.uint8)])).nnz == 2
    )  # darker, with less contrast


def test_texts_are_near_up_to_a_bound_and_in_pieces_as_in_one(monkeypatch):
    words = [f"w{i}" for i in range(40)]
    texts = pd.Series(
        [" ".join(words), " ".join([*words[:-1], "x"]), " ".join([*words[:30], *"abcdefghij"]), "! ? !", "! ? !"]
    )
    whole = near_texts(texts).toarray()
    assert np.argwhere(whole).tolist() == [[0, 1], [1, 0], [3, 4], [4, 3]]  # marks count as words
    for other, near in ((3, 2), (4, 0)):  # of forty words
        changed = " ".join([*words[:-other], *"abcd"[:other]])
        pair = near_texts(pd.Series([" ".join(words), changed]))
        assert pair.nnz == near
    monkeypatch.setattr(inspection, "MEMORY_MB", 0)
    assert np.array_equal(near_texts(texts).toarray(), whole)


@pytest.mark.parametrize(("vocabulary", "length"), [(2, 4), (30, 3), (3000, 20)])
def test_near_texts_are_those_of_all_pairs(vocabulary, length):
    random = np.random.default_rng(0)
    words = 1 / np.arange(1, vocabulary + 1)  # few words are frequent, as in a language
    texts = [random.choice(vocabulary, length, p=words / words.sum()) for _ in range(200)]
    texts += [np.concatenate([text[:-1], [vocabulary]]) for text in texts[:50]]
    texts = pd.Series([" ".join(f"w{word}" for word in text) for text in texts])
    vectors = TfidfVectorizer(ngram_range=(1, 2)).fit_transform(texts)
    expected = (vectors @ vectors.T).toarray() >= 1 - inspection.NEAR_TEXTS
    np.fill_diagonal(expected, False)
    assert expected.any() and np.array_equal(near_texts(texts).toarray() > 0, expected)


def test_a_word_must_be_in_five_texts_and_words_are_facts_too():
    labels = pd.Series(["a", "b"] * 10)
    for n, found in ((4, ""), (5, "spam")):
        texts = pd.Series([f"x{i} spam" if i < 2 * n and i % 2 == 0 else f"x{i}" for i in range(20)])
        assert telling_word(texts, labels)[0] == found
    assert told_by(pd.DataFrame({"format": [".jpg", ".png"] * 10}), labels) == 1.0
