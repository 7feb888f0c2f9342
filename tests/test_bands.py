"""Bands from runs: wide enough for one more run, too narrow for the broken variant; the runs are those of a sweep."""

import math
import platform

import nbformat
import numpy as np
import pytest

from course_tools import notebooks
from course_tools.build import frame
from course_tools.build.compose import compose
from course_tools.measure import bands, records
from course_tools.measure.bands import bands_from, profile_of
from course_tools.notebooks import Notebook
from course_tools.run import sweep
from course_utils.errors import CourseError
from course_utils.evaluation import expectations


def runs(values, contrasts=None, timing=False, limits=(None, None)):
    contrasts = contrasts or [None] * len(values)
    return [
        [{"name": "accuracy", "value": v, "contrast": c, "timing": timing, "limits": list(limits)}]
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


def test_equal_values_still_get_room_for_other_processors_but_none_beyond_what_is_possible():
    open_sided = bands_from(runs([1.0, 1.0, 1.0], [0.5] * 3))["accuracy"]
    assert (open_sided["low"], open_sided["high"]) == (0.995, 1.01)
    accuracy = bands_from(runs([1.0, 1.0, 1.0], [0.5] * 3, limits=(0, 1)))["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == (0.995, 1.0)
    assert bands_from(runs([0.01, 0.02], [0.9] * 2, limits=(0, None)))["accuracy"]["low"] == 0


def test_a_figure_without_contrast_is_information():
    assert bands_from(runs([0.60, 0.62])) == {"accuracy": {"mean": 0.61, "std": 0.01414}}
    assert bands_from(runs([2.0, 3.0], timing=True))["accuracy"] == {"mean": 2.5, "std": 0.7071, "timing": True}


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


def test_figures_of_no_or_of_two_profiles_give_no_bands():
    for profiles in ([], ["smoke", "default"]):
        with pytest.raises(CourseError, match=f"recorded under {len(profiles)} profiles; one is needed"):
            profile_of([[{"name": "accuracy", "profile": profile}] for profile in profiles], "smoke", {})


def test_bands_are_written_with_seeds_versions_and_the_median_of_the_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(expectations, "BANDS_PATH", tmp_path / "bands.toml")
    monkeypatch.setattr(records, "SECONDS_PATH", tmp_path / "seconds.toml")
    times = (10.0, 99.0, 12.34)
    results = [
        {"records": [run[0] | {"profile": "default_phantom"}], "seconds": seconds}
        for run, seconds in zip(runs([0.6, 0.7, 0.65]), times, strict=True)
    ]
    found = bands.write_bands(Notebook("07_a", True), "default", {"DATA": "phantom"}, results)
    kept = records.read_tables(tmp_path / "bands.toml")["experiments/07_a"]["default_phantom"]
    assert kept["bands"] == found == bands_from(runs([0.6, 0.7, 0.65])) and kept["seeds"] == [0, 1, 2]
    assert set(kept["versions"]) == {"tensorflow", "keras", "keras-hub", "numpy", "scikit-learn", "python"}
    assert kept["versions"]["numpy"] == np.__version__ and kept["versions"]["python"] == platform.python_version()
    assert records.read_seconds("experiments/07_a") == {"default_phantom": 12.3}


SOURCE = """\
# ---
# jupyter:
#   course: {title: A title, question: "Does it?", goals: [], prerequisites: [], recap: ["{{score.mean}}"],
#     references: []}
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
RATE = 0.5

# %%
expect("score", 0.9 + SEED / 1000, contrast=0.1, limits=(0, 1))
assert SEED < 2
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one experiment, in a folder of its own; not yet built."""
    for module in (notebooks, frame):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for module in (bands, sweep):
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    start = "from course_utils.evaluation.expectations import Expectations\nexpect = Expectations('{key}', PROFILE)"
    monkeypatch.setattr(frame, "START", start)  # without Keras, which takes seconds
    monkeypatch.setattr(expectations, "BANDS_PATH", tmp_path / "bands.toml")
    monkeypatch.setattr(records, "SECONDS_PATH", tmp_path / "data" / "seconds.toml")
    source = tmp_path / "notebooks" / "source" / "experiments" / "01_trial.py"
    source.parent.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "references.toml").touch()
    (tmp_path / "notebooks" / "experiments").mkdir()
    source.write_text(SOURCE)
    return Notebook("01_trial", True)


def test_bands_and_a_sweep_share_their_runs(course, call):
    code, told, _ = call("bands", "01", "--experiments", "--seeds", "2")
    assert code == 0 and told.count(": passed in") == 2 and "0.9 ± 0.0064" in told
    band = expectations.read_bands()[course.key]["default"]["bands"]["score"]
    assert (band.mean, band.high, band.contrast, band.seeds) == (0.9005, 0.956, 0.1, [0, 1])
    assert records.read_seconds(course.key)["default"] > 0

    # Stored: the code is the same, so only the third seed is run.
    nbformat.write(compose(course), course.path)
    code, told, _ = call("sweep", "01", "-p", "SEED", "0..2")
    assert code == 1 and told.count(" in ") and ": passed in" not in told and "2 figures of 2 runs, 1 failed" in told

    # A run that fails leaves the bands as they were.
    code, told, error = call("bands", "01", "--seeds", "3")
    assert code == 2 and "assert SEED < 2" in told and "not every run passed" in error
    assert expectations.read_bands()[course.key]["default"]["bands"]["score"].seeds == [0, 1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-p", "RATE", "0.1,0.2"], "Bands hold for one set of parameters: give one value for each -p"),
        (["--profile", "smoke"], "01_trial has no profile 'smoke'"),
        (["-p", "RATTE", "1"], "has no parameter 'RATTE'"),
    ],
)
def test_bad_bands_are_refused_before_anything_runs(course, words, sentence, call):
    code, _, error = call("bands", "01", *words)
    assert code == 2 and sentence in " ".join(error.split())
