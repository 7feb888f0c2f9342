import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from course_utils.errors import CourseError
from course_utils.evaluation import expectations
from course_utils.evaluation.expectations import Band, BandError, Expectations, read_bands

BANDS = """
[02_example.default]
seconds = 71.2
seeds = [0, 1, 2]
versions = { keras = "3.15.1" }

[02_example.default.bands.frozen_10]
low = 0.58
high = 0.66
mean = 0.62
std = 0.0123
contrast = 0.41
contrast_low = 0.38
contrast_high = 0.44

[02_example.default.bands.speedup]
low = 12.04
high = inf
mean = 15.0
std = 1.0
timing = true
seeds = [7]
"""


@pytest.fixture(autouse=True)
def bands(tmp_path, monkeypatch):
    file = tmp_path / "bands.toml"
    file.write_text(BANDS)
    monkeypatch.setattr(expectations, "BANDS_PATH", file)
    monkeypatch.delenv("COURSE_RECORDS", raising=False)
    monkeypatch.delenv("COURSE_MEASURE", raising=False)
    return file


@pytest.fixture
def expect(bands):
    return Expectations("02_example", "default")


def test_bands_are_read(bands):
    lesson = read_bands()["02_example"]["default"]
    assert lesson["seconds"] == 71.2
    assert lesson["versions"] == {"keras": "3.15.1"}
    assert lesson["bands"]["frozen_10"] == Band(0.58, 0.66, 0.62, 0.0123, 0.41, 0.38, 0.44, seeds=(0, 1, 2))
    assert lesson["bands"]["speedup"] == Band(12.04, math.inf, 15.0, 1.0, seeds=(7,), timing=True)
    assert read_bands(bands.with_name("missing.toml")) == {}


def test_printed_line_does_not_depend_on_the_value(expect, capsys):
    for value in (0.59, 0.651):
        expect("frozen_10", value, contrast=0.4)
    expect("frozen_10", np.float32(0.6))
    expect("speedup", 14, contrast=1.0, timing=True)
    assert capsys.readouterr().out.splitlines() == [
        "frozen_10: inside its band 0.58 to 0.66; contrast outside",
        "frozen_10: inside its band 0.58 to 0.66; contrast outside",
        "frozen_10: inside its band 0.58 to 0.66",
        "speedup: at least 12; contrast outside",
    ]


@pytest.mark.parametrize("edge", [0.58, 0.66])
def test_edges_belong_to_the_band(expect, edge):
    expect("frozen_10", edge)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(0.57, "measured 0.57, below its band \\(0.58 to 0.66\\)"), (0.67, "above its band")],
)
def test_value_outside_stops_the_notebook(expect, value, sentence, capsys):
    with pytest.raises(BandError, match=sentence):
        expect("frozen_10", value)
    assert capsys.readouterr().out == ""


def test_value_a_hair_outside_shows_enough_digits(expect):
    with pytest.raises(BandError, match="measured 12.03, below its band \\(at least 12.04\\)"):
        expect("speedup", 12.03, timing=True)


def test_contrast_inside_stops_the_notebook(expect):
    with pytest.raises(BandError, match="contrast measured 0.6, inside the band \\(0.58 to 0.66\\)"):
        expect("frozen_10", 0.62, contrast=0.6)
    with pytest.raises(BandError, match="contrast"):
        expect("speedup", 20, contrast=13, timing=True)


def test_band_error_is_an_assertion():
    assert issubclass(BandError, AssertionError)


def test_profile_without_bands(capsys):
    Expectations("02_example", "smoke")("frozen_10", 0.1)
    Expectations("09_unknown", "default")("frozen_10", 0.1)
    assert capsys.readouterr().out.splitlines() == [
        "frozen_10: no band for profile smoke",
        "frozen_10: no band for profile default",
    ]


def test_measuring_compares_nothing(expect, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_MEASURE", "1")
    expect("frozen_10", 0.1, contrast=0.6)
    expect("speedup", 1.0)
    assert capsys.readouterr().out.splitlines() == ["frozen_10: measuring", "speedup: measuring"]


def test_records(expect, monkeypatch, tmp_path):
    file = tmp_path / "records.jsonl"
    monkeypatch.setenv("COURSE_RECORDS", str(file))
    expect("frozen_10", np.float32(0.625), contrast=0.4)
    expect("speedup", 20, timing=True)
    expect("new_one", 1)
    with pytest.raises(BandError):
        expect("frozen_10", 0.1)
    common = {"notebook": "02_example", "profile": "default"}
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        common
        | {
            "name": "frozen_10",
            "value": 0.625,
            "contrast": 0.4,
            "timing": False,
            "low": 0.58,
            "high": 0.66,
            "inside": True,
        },
        common
        | {
            "name": "speedup",
            "value": 20,
            "contrast": None,
            "timing": True,
            "low": 12.04,
            "high": None,
            "inside": True,
        },
        common
        | {
            "name": "new_one",
            "value": 1,
            "contrast": None,
            "timing": False,
            "low": None,
            "high": None,
            "inside": None,
        },
        common
        | {
            "name": "frozen_10",
            "value": 0.1,
            "contrast": None,
            "timing": False,
            "low": 0.58,
            "high": 0.66,
            "inside": False,
        },
    ]


def test_records_of_many_writers_stay_whole(expect, monkeypatch, tmp_path):
    file = tmp_path / "records.jsonl"
    monkeypatch.setenv("COURSE_RECORDS", str(file))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: expect("frozen_10", 0.6), range(200)))
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 200


@pytest.mark.parametrize("name", ["frozen 10", "10_frozen", "", 7, None])
def test_name_refused(expect, name):
    with pytest.raises(CourseError, match="accepted is an identifier"):
        expect(name, 0.6)


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.6", None, True, np.array([0.6]), 1j])
def test_value_refused(expect, value):
    with pytest.raises(CourseError, match="The value of frozen_10 is .*; accepted is a finite number"):
        expect("frozen_10", value)


def test_contrast_refused(expect):
    with pytest.raises(CourseError, match="The contrast of frozen_10 is nan"):
        expect("frozen_10", 0.6, contrast=math.nan)


def test_timing_must_agree_with_the_band(expect):
    with pytest.raises(CourseError, match="timing=False but its band was measured with timing=True"):
        expect("speedup", 20)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("low = 0.58", "", "missing 1 required .*'low'"),
        ("low = 0.58", "low = 0.7", "not an interval: low 0.7"),
        ("low = 0.58", "low = nan", "not an interval"),
        ("low = 0.58", "low = '0.58'", "cannot be read"),
        ("std = 0.0123", "std = 0.0123\nspread = 1", "unknown field 'spread'"),
        ("[02_example.default]", "[02_example.default", "not a TOML file"),
        (
            "[02_example.default]",
            "stray = 1\n[02_example.default]",
            "stray in bands.toml is 1; accepted is a table",
        ),
    ],
)
def test_broken_file_is_refused(bands, old, new, sentence):
    bands.write_text(BANDS.replace(old, new, 1))
    with pytest.raises(CourseError, match=sentence):
        Expectations("02_example", "default")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.58, "0.58"),
        (0.12345, "0.123"),
        (0.0, "0"),
        (12345.6, "12300"),
        (-0.5, "-0.5"),
        (2.0, "2"),
        (1e-7, "1e-07"),
        (99.96, "100"),
    ],
)
def test_numbers_are_printed_with_three_digits(number, text):
    assert Band(number, math.inf, 0, 0).interval() == f"at least {text}"
