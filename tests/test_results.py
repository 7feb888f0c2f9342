"""Figures of `full` runs: which are kept, and the page of all that was measured."""

import json

import pytest

from course_tools.measure import results
from course_tools.measure.records import read_tables
from course_tools.measure.results import keep_full_runs
from course_tools.notebooks import Notebook, all_notebooks
from course_tools.publish import measured
from course_tools.publish.measured import measured_tables, status_table
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands

RECORD = {"profile": "full", "contrast": None, "timing": False}


def finished(folder, key, records, profile="full", status="passed", **more):
    parameters = {"PROFILE": profile, "SIZES": [1, 2]} | more
    run = {"name": key, "status": status, "parameters": parameters, "records": records}
    (folder / f"{key}.json").write_text(json.dumps(run), encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS_PATH", tmp_path / "results.toml")
    monkeypatch.setattr(results, "BUILD", tmp_path / "build")
    monkeypatch.setattr(
        results,
        "run_parameters",
        lambda notebook, profile, typed: {"PROFILE": profile, "SIZES": (1, 2)} | typed if notebook.key else None,
    )
    monkeypatch.setattr(results, "all_notebooks", lambda: [Notebook("01_a"), Notebook("02_b")])
    (tmp_path / "build" / "experiments").mkdir(parents=True)
    return tmp_path / "build"


def test_figures_of_a_full_run_are_kept_until_the_next(folder):
    finished(folder, "01_a", [RECORD | {"name": "gain", "value": 0.123456, "contrast": 0.5}])
    finished(folder, "02_b", [RECORD | {"name": "gain", "value": 0.3}])
    assert keep_full_runs() == ["01_a", "02_b"]
    finished(folder, "02_b", [RECORD | {"name": "gain", "value": 0.4}])
    (folder / "01_a.json").unlink()
    assert keep_full_runs() == ["02_b"]
    assert read_tables(results.RESULTS_PATH) == {
        "01_a": {"gain": {"value": 0.1235, "contrast": 0.5}},
        "02_b": {"gain": {"value": 0.4}},
    }


@pytest.mark.parametrize("other", [{"profile": "default"}, {"status": "failed"}, {"SEED": 3}, {"SIZES": [3]}])
def test_other_runs_are_not_kept(folder, other):
    (folder / "mutants.json").write_text("[]", encoding="utf-8")
    (folder / "02_b.json").write_bytes(b"\xff damaged")
    finished(folder, "01_a", [], **other)
    with pytest.raises(CourseError, match="no finished run of the full profile"):
        keep_full_runs()


def test_the_page_shows_each_figure_with_its_interval_its_contrast_and_full(tmp_path, monkeypatch):
    results_of_full = tmp_path / "results.toml"
    results_of_full.write_text('["experiments/07_medical_imaging".ensemble_auc]\nvalue = 0.9876\n', encoding="utf-8")
    monkeypatch.setattr(measured, "RESULTS_PATH", results_of_full)
    lines = measured_tables()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| Figure")]
    bands = [record["default"]["bands"] for record in read_bands().values()]
    assert len(rows) >= sum(map(len, bands))
    assert any(row.startswith("| `validation_accuracy` (The whole thing first) | 0.") for row in rows)
    assert any(row.startswith("| `baseline` | 0.") for row in rows)  # no section but that of the checks names it
    assert len([line for line in lines if line.startswith("## ")]) == len(bands)
    assert any("five networks together" in row and row.endswith("| 0.988 |") for row in rows)


def test_the_page_tells_how_the_last_runs_here_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "BUILD", tmp_path)
    assert status_table() == ["No notebook was run here yet."]
    key = all_notebooks("lessons")[0].key
    (tmp_path / f"{key}.json").write_text('{"status": "failed", "seconds": 90}')
    assert status_table()[2:] == [f"| {key} | failed | 1.5 |"]
