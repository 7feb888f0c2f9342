"""Splits are stratified, seeded and disjoint; impossible requests are told in one sentence."""

import numpy as np
import pandas as pd
import pytest

from course_utils.data.dataset import Card, Samples
from course_utils.data.splits import few_shot, make_split, stratified_split
from course_utils.errors import CourseError

CARD = Card("Toy <data>", "made up", "CC0", "nobody")
Y = np.repeat([0, 1, 2], [50, 30, 20])  # sorted by class


def toy_split(seed=0):
    return make_split(np.arange(100.0), Y, ("a", "b", "c"), CARD, seed=seed)


def test_parts_are_disjoint_complete_and_stratified():
    parts = stratified_split(Y)
    assert sorted(np.concatenate(parts)) == list(range(100))
    counts = [np.bincount(Y[part]).tolist() for part in parts]
    assert counts == [[30, 18, 12], [10, 6, 4], [10, 6, 4]]


def test_parts_are_not_sorted_by_class():
    assert all(np.any(np.diff(Y[part]) < 0) for part in stratified_split(Y))


def test_split_depends_on_the_seed_alone():
    first, again, other = stratified_split(Y), stratified_split(Y), stratified_split(Y, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert set(first[2]) != set(other[2])
    groups = np.arange(100) // 2
    assert set(stratified_split(Y, groups)[2]) != set(stratified_split(Y, groups, seed=1)[2])
    assert np.array_equal(toy_split(1).test.x, other[2]) and not np.array_equal(toy_split().test.x, other[2])


@pytest.mark.parametrize("draw", [stratified_split, lambda y, **seed: few_shot(Samples(np.arange(200), y), 5, **seed)])
def test_without_a_seed_it_is_0(draw):
    labels = np.repeat([0, 1], 100)
    for part, expected in zip(draw(labels), draw(labels, seed=0), strict=True):
        assert np.array_equal(part, expected)


def test_five_of_a_class_and_five_groups_are_enough():
    parts = stratified_split([0] * 5 + [1] * 5, [*range(5)] * 2)
    assert [len(part) for part in parts] == [6, 2, 2]


def test_groups_stay_in_one_part():
    groups = np.arange(300) // 6
    y = np.random.default_rng(0).integers(0, 2, 300)
    parts = stratified_split(y, groups)
    owned = [set(groups[part]) for part in parts]
    assert owned[0] | owned[1] | owned[2] == set(range(50))
    assert not (owned[0] & owned[1] or owned[0] & owned[2] or owned[1] & owned[2])
    assert 160 <= len(parts[0]) <= 200


def test_split_object_shows_counts_and_card():
    split = toy_split()
    assert split.counts().to_dict("list") == {
        "train": [30, 18, 12], "validation": [10, 6, 4], "test": [10, 6, 4],
    }  # fmt: skip
    assert list(split.counts().index) == ["a", "b", "c"]
    assert make_split(np.arange(100), Y, ["a", "b", "c"], CARD).class_names == ("a", "b", "c")
    assert repr(split) == "Toy <data>: 60 train, 20 validation, 20 test; 3 classes; licence: CC0"
    assert "Toy &lt;data&gt;" in split._repr_html_() and "CC0" in split._repr_html_()
    x, y = split.train
    assert np.array_equal(Y[x.astype(int)], y) and y.dtype == np.int64


@pytest.mark.parametrize(
    ("y", "groups", "sentence"),
    [
        ([], None, "non-empty"),
        ([[0, 1]], None, r"shape \(1, 2\)"),
        ([0.0, np.nan] * 5, None, "5 of 10 labels are missing"),
        (["a", None] * 5, None, "5 of 10 labels are missing"),
        ([0.5, 1.5] * 5, None, "fraction"),
        ([0] * 9 + [1] * 4, None, "Class 1 has 4 samples"),
        (["cat"] * 9 + ["dog"] * 3, None, "Class dog has 3 samples"),
        ([0, 1] * 5, [0] * 9, "a group for each of the 10 labels"),
        ([0, 1] * 5, [0, 1] * 5, "There are 2 groups"),
        ([0, 1] * 5, [*range(4), 3] * 2, "There are 4 groups"),
        ([0, 1] * 5, [*range(9), np.nan], "a group for each of the 10 labels"),
        (np.ma.masked_equal([0, 1] * 5, 1), None, "masked"),
        (np.array([(0, 1)] * 10 + [None], object)[:10], None, "got mixed"),
        (np.array([0, "a"] * 5, object), None, "got mixed-integer"),
        (pd.DataFrame({"y": [0, 1] * 5}), None, r"shape \(10, 1\)"),
        ([[0], [1, 2]], None, "one array"),
        ([0, 1] * 5, np.array([0, "a"] * 5, object), "of one type"),
        ([0, 1] * 5, np.ma.masked_equal(range(10), 1), "groups hold masked"),
        ([0] * 20 + [1] * 5, [*range(20)] + [20] * 5, "got no sample of class 1"),
    ],
)
def test_impossible_splits_are_refused(y, groups, sentence):
    with pytest.raises(CourseError, match=sentence):
        stratified_split(y, groups)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.arange(99.0), Y, "99 samples but 100 labels"),
        ([[1], [2, 3]] * 50, Y, "one array"),
        (np.ma.masked_less(np.arange(100.0), 3), Y, "masked"),
        (np.r_[np.nan, np.arange(99.0)], Y, "NaN or infinite"),
        (np.arange(100.0), Y + 1, "between 0 and 2"),
        (np.arange(100.0), np.minimum(Y, 1), "Class c has 0 samples"),
        (np.arange(100.0), Y.astype(str), "class numbers"),
    ],
)
def test_impossible_data_sets_are_refused(x, y, sentence):
    with pytest.raises(CourseError, match=sentence):
        make_split(x, y, ("a", "b", "c"), CARD)


@pytest.mark.parametrize(
    "y",
    [
        Y.astype(object),
        Y.tolist(),
        pd.Series(Y, index=Y + 7),
        Y.astype("S1"),
        Y.astype(str).astype(object),
        Y.astype("u1"),
    ],
)
def test_labels_of_every_container_give_the_same_split(y):
    groups = np.arange(100) // 2
    for owned in (None, groups):
        for part, expected in zip(stratified_split(y, owned), stratified_split(Y, owned), strict=True):
            assert np.array_equal(part, expected)
    few = few_shot(Samples(pd.DataFrame({"x": np.arange(100)}, index=np.arange(100)[::-1]), y), 3)
    assert np.array_equal(few.x[:, 0], few_shot(Samples(np.arange(100), Y), 3).x)


def test_samples_of_other_containers_are_taken_by_place():
    expected = toy_split().test.x
    for x in (list(np.arange(100.0)), pd.Series(np.arange(100.0), index=np.arange(100)[::-1])):
        assert np.array_equal(make_split(x, Y, ("a", "b", "c"), CARD).test.x, expected)


def test_few_shot_draws_per_class_and_nests():
    train = toy_split().train
    small, large = few_shot(train, 5, seed=3), few_shot(train, 10, seed=3)
    assert np.bincount(small.y).tolist() == [5, 5, 5] and np.bincount(large.y).tolist() == [10] * 3
    assert set(small.x) < set(large.x) <= set(train.x) and len(set(large.x)) == 30
    assert np.array_equal(Y[small.x.astype(int)], small.y)
    assert np.array_equal(small.x, few_shot(train, 5, seed=3).x)
    assert set(small.x) != set(few_shot(train, 5, seed=4).x)


def test_few_shot_takes_a_whole_class_where_no_more_are_there():
    assert np.bincount(few_shot(toy_split().train, 12).y).tolist() == [12] * 3


@pytest.mark.parametrize("draw", [stratified_split, lambda y, **seed: few_shot(Samples(np.arange(100), y), 5, **seed)])
def test_a_seed_below_zero_is_refused(draw):
    draw(Y, seed=0)
    with pytest.raises(CourseError, match="^seed=-1 is impossible: give a whole number, at least 0"):
        draw(Y, seed=-1)


def test_few_shot_refuses_by_name():
    with pytest.raises(CourseError, match="Class 2 has 12 samples, fewer than the 13"):
        few_shot(toy_split().train, 13)
    with pytest.raises(CourseError, match="per_class=0 is impossible"):
        few_shot(toy_split().train, 0)
    with pytest.raises(CourseError, match="per_class=2.0 is impossible"):
        few_shot(toy_split().train, 2.0)
    with pytest.raises(CourseError, match="30 samples but 20 labels"):
        few_shot(Samples(np.arange(30), np.arange(20) % 2), 1)
    with pytest.raises(CourseError, match="non-empty"):
        few_shot(Samples(np.empty(0), np.empty(0, int)), 1)
