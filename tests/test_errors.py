"""The checks that many inputs go through, and where files are kept."""

from pathlib import Path

import numpy as np
import pytest

from course_utils import settings
from course_utils.errors import CourseError, as_floats, plain_array, whole_number


def test_a_whole_number_is_an_int_from_the_least_on():
    assert [whole_number("n", value) for value in (1, np.uint8(7))] == [1, 7]
    assert type(whole_number("n", np.int64(3))) is int and whole_number("n", -2, -2) == -2
    for value, least in ((0, 1), (1, 2), (-3, -2)):
        with pytest.raises(CourseError, match=f"^n={value} is impossible: give a whole number, at least {least}.$"):
            whole_number("n", value, least)
    for value in (True, np.True_, 1.0, "1", None):
        with pytest.raises(CourseError, match="^n=.* at least 1.$"):
            whole_number("n", value)


@pytest.mark.parametrize(
    "values", [[1, 2], np.array([True, False]), np.array([1, 2], np.uint8), np.array([1, 2.5], object)]
)
def test_numbers_of_every_kind_become_floats(values):
    floats = as_floats(values, "values")
    assert floats.dtype == np.float64 and floats.tolist() == [float(value) for value in values]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.5, np.nan], "^values hold nan in row 1; accepted are finite numbers.$"),
        ([[0, 1], [2, 3], [-np.inf, 4]], "^values hold -inf in row 2"),
        (np.nan, "^values hold nan in row 0"),
        (["1", "2"], "^values are not numbers"),
        (np.array([None, {}], object), "^values are not numbers"),
        (np.array([1j]), "^values are not numbers"),
        (np.ma.masked_equal([1, 2], 2), "^values hold masked entries"),
        ([[1, 2], [3]], "^values do not form one array: their lengths differ"),
    ],
)
def test_what_is_no_finite_number_is_refused(values, sentence):
    with pytest.raises(CourseError, match=sentence):
        as_floats(values, "values")


def test_an_array_is_taken_as_it_is_and_a_mask_that_hides_nothing_too():
    array = np.array(["a"], object)
    assert plain_array("values", array) is array
    assert plain_array("values", np.ma.masked_array([1, 2], [False, False])).tolist() == [1, 2]


def test_a_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert settings.cache_dir() == tmp_path
    monkeypatch.setenv("COURSE_CACHE", "some/folder")  # the same one from wherever a kernel runs
    assert settings.cache_dir() == settings.ROOT / "some" / "folder"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("COURSE_CACHE", "~/kept")
    assert settings.cache_dir() == tmp_path / "kept"


def test_the_cache_is_in_the_checkout_where_there_is_one(monkeypatch):
    for value in (None, ""):
        monkeypatch.setenv("COURSE_CACHE", value) if value is not None else monkeypatch.delenv("COURSE_CACHE", False)
        monkeypatch.setattr(settings, "IS_CHECKOUT", True)
        assert settings.cache_dir() == settings.ROOT / "data" / "cache"
        monkeypatch.setattr(settings, "IS_CHECKOUT", False)
        assert "transfer-learning-course" in settings.cache_dir().parts
        assert not settings.cache_dir().is_relative_to(settings.ROOT)
    assert (settings.ROOT / "course_utils" / "settings.py").samefile(Path(settings.__file__))
