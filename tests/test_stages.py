"""The stages of `course test`: all run, the last line counts, what failed is named."""

import pytest

from course_tools import stages
from course_tools.notebooks import Notebook


@pytest.fixture
def files(tmp_path):
    (tmp_path / "test_good.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_c(): assert 1 == 2\n")
    return {name: ["pytest", "-q", "-p", "no:nbval", str(tmp_path / f"test_{name}.py")] for name in ("bad", "good")}


def test_a_failed_stage_does_not_stop_the_others(files, monkeypatch, capfd):
    monkeypatch.setattr(stages, "stages", lambda everything: files)
    assert stages.run_stages() is False
    said = capfd.readouterr().out
    assert "assert 1 == 2" in said and "2 passed in" in said
    assert said.splitlines()[-1].startswith("1 failed, 2 passed in ") and said.endswith("; failed: bad\n")
    monkeypatch.setattr(stages, "stages", lambda everything: {"good": files["good"]})
    assert stages.run_stages() is True
    assert capfd.readouterr().out.endswith("s; all stages passed\n")


def test_only_experiments_that_are_stale_are_executed(monkeypatch):
    known = [Notebook("01_a"), Notebook("01_a", True), Notebook("02_b", True)]
    chosen = {"lessons": known[:1], "experiments": known[1:]}
    monkeypatch.setattr(stages, "all_notebooks", lambda storey: chosen[storey])
    monkeypatch.setattr(stages, "is_stale", lambda notebook: notebook.number == "02")
    monkeypatch.setattr(Notebook, "path", property(lambda self: stages.ROOT / "README.md"))
    found = stages.stages()
    assert list(found) == ["lint", "format", "unit tests", "2 notebooks"] and "-m" not in found["unit tests"]
    everything = stages.stages(everything=True)
    assert list(everything) == ["lint", "format", "unit tests", "3 notebooks", "faults"]
    assert everything["unit tests"][-3:] == ["-m", "", "tests"]
