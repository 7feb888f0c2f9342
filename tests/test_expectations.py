"""Headline figures: what stops a notebook, what is recorded, what its table shows."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

from course_utils.errors import CourseError
from course_utils.evaluation import expectations
from course_utils.evaluation.expectations import Band, BandError, Expectations, read_bands

BANDS = """
[02_example.default]
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
contrast = 1.0
timing = true
seeds = [7, 8]

[02_example.default.bands.size]
mean = 3.0
std = 0.5
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


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Return a function that reads what was recorded."""
    file = tmp_path / "records.jsonl"
    monkeypatch.setenv("COURSE_RECORDS", str(file))
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def test_bands_are_read(bands):
    record = read_bands()["02_example"]["default"]
    assert record["versions"] == {"keras": "3.15.1"}
    frozen = Band(0.62, 0.0123, 0.58, 0.66, contrast=0.41, contrast_low=0.38, contrast_high=0.44, seeds=[0, 1, 2])
    assert record["bands"]["frozen_10"] == frozen
    assert record["bands"]["speedup"].high == math.inf and record["bands"]["speedup"].seeds == [7, 8]
    assert record["bands"]["size"] == Band(3.0, 0.5, seeds=[0, 1, 2])
    assert read_bands(bands.with_name("missing.toml")) == {}


def test_half_width_is_that_of_the_t_interval(bands):
    runs = [0.6, 0.62, 0.65]
    band = Band(np.mean(runs), np.std(runs, ddof=1), seeds=(0, 1, 2))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(runs), scale=stats.sem(runs))
    assert band.half_width == pytest.approx((high - low) / 2)


def test_nothing_is_printed(expect, capsys):
    for value in (0.58, 0.66, np.float32(0.6)):  # the edges belong to the band
        expect("frozen_10", value, contrast=0.4)
    expect("speedup", 14, contrast=1.0, timing=True)
    expect("size", 100)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.57, "measured 0.57, below its band \\(0.58 to 0.66\\)"),
        (0.67, "measured 0.67, above its band.* gave 0.62 \\(SD 0.0123\\)"),
    ],
)
def test_a_value_outside_stops_the_notebook(expect, value, sentence):
    with pytest.raises(BandError, match=sentence):
        expect("frozen_10", value, contrast=0.4)


def test_a_value_a_hair_outside_shows_enough_digits(expect):
    with pytest.raises(BandError, match="measured 12.03, below its band \\(at least 12.04\\)"):
        expect("speedup", 12.03, contrast=1.0, timing=True)


def test_a_contrast_inside_stops_the_notebook(expect):
    with pytest.raises(BandError, match="contrast measured 0.6, inside the band \\(0.58 to 0.66\\)"):
        expect("frozen_10", 0.62, contrast=0.6)
    with pytest.raises(BandError, match="contrast"):
        expect("speedup", 20, contrast=13, timing=True)


def test_a_figure_without_contrast_is_information(expect, records):
    expect("frozen_10", 0.1)
    expect("size", 100)
    assert [record["name"] for record in records()] == ["frozen_10", "size"]


def test_a_band_error_is_an_assertion():
    assert issubclass(BandError, AssertionError)


def test_without_bands_nothing_is_compared():
    Expectations("02_example", "smoke")("frozen_10", 0.1, contrast=0.1)
    Expectations("09_unknown", "default")("frozen_10", 0.1, contrast=0.1)


def test_measuring_compares_nothing(expect, monkeypatch):
    monkeypatch.setenv("COURSE_MEASURE", "1")
    expect("frozen_10", 0.1, contrast=0.6)
    expect("speedup", 1.0, contrast=2.0)


def test_the_table_shows_this_run_beside_the_others(expect):
    expect("frozen_10", 0.6251, contrast=0.4)
    expect("size", 3)
    expect("new_one", 7)
    table = expect.table()
    assert table.index.tolist() == ["frozen_10", "size", "new_one"]
    assert table.columns.tolist() == ["this run", "compared with", "3 runs: mean ± 95%"]
    assert table.loc["frozen_10"].tolist() == ["0.625", "0.4", "0.62 ± 0.031"]
    assert table["compared with"].tolist() == ["0.4", "", ""]
    assert table.iloc[2, 2] == "not measured"
    alone = Expectations("09_unknown", "default")
    alone("figure", 1)
    assert alone.table().columns[2] == "0 runs: mean ± 95%"


def test_the_table_writes_everyday_sizes_without_exponent(expect):
    shown = {999_400: "999000", 999_600: "1e+06", 1e6: "1e+06", 1e-4: "0.0001", 9.9e-5: "9.9e-05", -1234: "-1230"}
    for number, value in enumerate(shown):
        expect(f"figure_{number}", value)
    assert expect.table()["this run"].tolist() == list(shown.values())


def test_records(expect, records):
    expect("frozen_10", np.float32(0.625), contrast=0.4, limits=(0, 1))
    expect("speedup", 20, contrast=1, timing=True)
    expect("size", 1)
    expect("new_one", 1)
    with pytest.raises(BandError):
        expect("frozen_10", 0.1, contrast=0.4)
    common = {"notebook": "02_example", "profile": "default"}
    found = [{key: value for key, value in record.items() if key not in common} for record in records()]
    frozen = {"name": "frozen_10", "value": 0.625, "contrast": 0.4, "timing": False, "limits": [0.0, 1.0]}
    frozen |= {"low": 0.58, "high": 0.66, "inside": True}
    free = {"timing": False, "limits": [None, None], "contrast": None, "low": None, "high": None, "inside": None}
    speedup = free | {"name": "speedup", "value": 20.0, "contrast": 1.0, "timing": True, "low": 12.04, "inside": True}
    assert found[:3] == [frozen, speedup, free | {"name": "size", "value": 1.0}]
    assert found[3] == free | {"name": "new_one", "value": 1.0}
    assert found[4] == frozen | {"value": 0.1, "limits": [None, None], "inside": False}
    assert all(record.items() >= common.items() for record in records())


def test_records_of_many_writers_stay_whole(expect, records):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: expect("size", 0.6), range(200)))
    assert len(records()) == 200


@pytest.mark.parametrize("name", ["frozen 10", "10_frozen", "", 7, None])
def test_name_refused(expect, name):
    with pytest.raises(CourseError, match="accepted is an identifier"):
        expect(name, 0.6)


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.6", None, True, np.array([0.6]), 1j])
def test_value_refused(expect, value):
    with pytest.raises(CourseError, match="The value of frozen_10 is .*; accepted is a finite number"):
        expect("frozen_10", value)


def test_what_is_impossible_is_refused(expect):
    with pytest.raises(CourseError, match="The contrast of frozen_10 is nan"):
        expect("frozen_10", 0.6, contrast=math.nan)
    with pytest.raises(CourseError, match="The value of frozen_10 is 1.2, outside its limits 0 to 1"):
        expect("frozen_10", 1.2, contrast=0.4, limits=(0, 1))
    with pytest.raises(CourseError, match="The contrast of frozen_10 is -1, outside its limits"):
        expect("frozen_10", 0.6, contrast=-1, limits=(0, 1))


def test_a_figure_of_another_kind_than_measured_is_refused(expect):
    with pytest.raises(CourseError, match="measured as another kind of figure: run `course bands` again"):
        expect("speedup", 20, contrast=1)
    with pytest.raises(CourseError, match="measured as another kind of figure"):
        expect("size", 3, contrast=1)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("mean = 0.62", "", "missing 1 required .*'mean'"),
        ("std = 0.0123", "std = 0.0123\nspread = 1", "unexpected keyword argument 'spread'"),
        ("[02_example.default]", "[02_example.default", "no file of bands"),
        ("[02_example.default]", "stray = 1\n[02_example.default]", "no file of bands"),
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
def test_numbers_are_told_with_three_digits(number, text):
    assert Band(0, 0, number, math.inf).interval() == f"at least {text}"


def test_a_long_table_shows_every_figure_in_one_piece():
    expect = Expectations("09_unknown", "default")
    for number in range(100):
        expect(f"a_figure_with_a_long_name_that_fills_most_of_a_line_{number}", 0.5)
    lines = repr(expect.table()).splitlines()
    assert len(lines) == 101 and expect.table()._repr_html_().count("<tr") == 101
