"""Figures of `full` runs: which runs are kept, and the README's table of them."""

import json

import jupytext
import pytest

from course_tools.measure import results
from course_tools.measure.results import keep_full_runs, results_table
from course_tools.notebooks import Notebook
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import Band

CHECKED = Notebook("04_domain_adaptation", True)
RECORD = {"profile": "full", "contrast": None, "timing": False}


def finished(folder, key, records, profile="full", status="passed", **more):
    parameters = {"PROFILE": profile, "SIZES": [1, 2]} | more
    run = {"name": key, "status": status, "parameters": parameters, "records": records}
    (folder / f"{key}.json").write_text(json.dumps(run), encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS_PATH", tmp_path / "results.toml")
    monkeypatch.setattr(results, "run_parameters", lambda *_: {"PROFILE": "full", "SIZES": [1, 2]})
    monkeypatch.setattr(results, "all_notebooks", lambda: [Notebook("01_a"), Notebook("02_b"), CHECKED])
    (tmp_path / "build" / "experiments").mkdir(parents=True)
    return tmp_path / "build"


def test_figures_of_a_full_run_are_kept_until_the_next(folder):
    finished(folder, "01_a", [RECORD | {"name": "gain", "value": 0.123456, "contrast": 0.5}])
    finished(folder, "02_b", [RECORD | {"name": "gain", "value": 0.3}])
    assert keep_full_runs(folder) == ["01_a", "02_b"]
    finished(folder, "02_b", [RECORD | {"name": "gain", "value": 0.4}])
    (folder / "01_a.json").unlink()
    assert keep_full_runs(folder) == ["02_b"]
    assert results.read_tables(results.RESULTS_PATH) == {
        "01_a": {"gain": {"value": 0.1235, "contrast": 0.5}},
        "02_b": {"gain": {"value": 0.4}},
    }


@pytest.mark.parametrize("other", [{"profile": "default"}, {"status": "failed"}, {"SEED": 3}, {"SIZES": [3]}])
def test_other_runs_are_not_kept(folder, other):
    (folder / "mutants.json").write_text("[]", encoding="utf-8")
    (folder / "02_b.json").write_bytes(b"\xff damaged")
    finished(folder, "01_a", [], **other)
    with pytest.raises(CourseError, match="no finished run of the full profile"):
        keep_full_runs(folder)


NAMED = list(jupytext.read(CHECKED.source, fmt="py:percent").metadata["course"]["results"])  # in the front matter


def test_table_names_what_the_front_matter_names(folder):
    finished(folder, CHECKED.key, [RECORD | {"name": name, "value": 1234.5, "contrast": 0.25} for name in NAMED])
    keep_full_runs(folder)
    rows = results_table()[2:]
    assert len(rows) == len(NAMED)
    assert rows[0].startswith("| 04 | ") and "| **1,234** (0.25) |" in rows[0]
    assert all(row.startswith("|  | ") for row in rows[1:])


def test_the_stored_profile_stands_beside_it_with_its_interval(folder, monkeypatch):
    finished(folder, CHECKED.key, [RECORD | {"name": name, "value": 0.5} for name in NAMED])
    keep_full_runs(folder)
    band = Band(mean=0.6, std=0.01, seeds=(0, 1, 2, 3, 4))
    bands = {name: band for name in NAMED}
    monkeypatch.setattr(results, "read_bands", lambda: {CHECKED.key: {"default": {"bands": bands}}})
    assert all(row.endswith("| **0.5** | 0.6 ± 0.012 |") for row in results_table()[2:])


def test_a_figure_that_only_full_has_leaves_the_stored_profile_blank(folder, monkeypatch):
    finished(folder, CHECKED.key, [RECORD | {"name": name, "value": 0.5} for name in NAMED])
    keep_full_runs(folder)
    monkeypatch.setattr(results, "read_bands", lambda: {CHECKED.key: {"default": {"bands": {}}}})
    assert all(row.endswith("| **0.5** | – |") for row in results_table()[2:])


def test_a_result_that_was_not_measured_is_named(folder):
    finished(folder, CHECKED.key, [RECORD | {"name": NAMED[0], "value": 0.7}])
    keep_full_runs(folder)
    with pytest.raises(CourseError, match=f"names the result '{NAMED[1]}'"):
        results_table()
