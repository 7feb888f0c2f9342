"""Bands from runs: wide enough for one more run, too narrow for the broken variant."""

import math

import pytest

from course_tools.measure.bands import bands_from, profile_of
from course_utils.errors import CourseError


def runs(values, contrasts=None, timing=False):
    contrasts = contrasts or [None] * len(values)
    return [
        [{"name": "accuracy", "value": v, "contrast": c, "timing": timing}]
        for v, c in zip(values, contrasts, strict=False)
    ]


def test_a_band_is_the_99_percent_prediction_interval():
    band = bands_from(runs([0.60, 0.61, 0.62, 0.63, 0.64], [0.3, 0.3, 0.3, 0.3, 0.4]))["accuracy"]
    half_width = 4.6041 * 0.0158114 * math.sqrt(1 + 1 / 5)  # Student's t for 4 degrees of freedom, 0.995
    assert band["low"] == pytest.approx(0.62 - half_width, abs=2e-3)
    assert band["high"] == pytest.approx(0.62 + half_width, abs=2e-3)
    assert (band["contrast"], band["contrast_low"], band["contrast_high"]) == (0.32, 0.3, 0.4)


def test_a_band_that_admits_its_contrast_is_refused():
    with pytest.raises(CourseError, match="admits its contrast .*: it could not tell right from wrong"):
        bands_from(runs([0.60, 0.61, 0.62, 0.63, 0.64], [0.3, 0.3, 0.3, 0.3, 0.58]))


def test_a_ratio_of_times_has_a_lower_bound_only():
    band = bands_from(runs([20.0, 30.0], [1.0, 1.0], timing=True))["accuracy"]
    assert (band["low"], band["high"]) == (12.0, math.inf)


def test_equal_values_still_get_room_for_other_processors():
    band = bands_from(runs([1.0, 1.0, 1.0]))["accuracy"]
    assert (band["low"], band["high"]) == (0.995, 1.01)


def test_a_figure_missing_in_one_run_is_refused():
    with pytest.raises(CourseError, match="accuracy was recorded 1 times in 2 runs"):
        bands_from([*runs([0.6]), []])


def test_bands_of_other_parameters_never_replace_those_of_the_stored_ones():
    def recorded(profile):
        return [[{"name": "accuracy", "profile": profile}]]

    assert profile_of(recorded("default"), "default", {}) == "default"
    assert profile_of(recorded("default_phantom"), "default", {"DATA": "phantom"}) == "default_phantom"
    with pytest.raises(CourseError, match="keeps none of their own for -p SIZE 64"):
        profile_of(recorded("default"), "default", {"SIZE": "64"})
