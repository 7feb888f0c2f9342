"""The benchmark: its ratios, rounds, peers and file. Nothing here is timed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from course_tools.bench import peer, run, speedups
from course_tools.bench.rounds import clocked, time_rounds
from course_tools.bench.table import bench_table, limit, versus
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands

SCRIPT = """
import sys
sys.path.append({peers!r})
from serving import serve
def ways_for(inputs):
    def twice():
        print("what a library prints is no answer")
        return 2 * inputs["x"]
    return {{"twice": twice, "wrong": lambda: 1 / 0}}
serve(ways_for)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A peer that runs with the Python of the tests."""
    (tmp_path / "twice.py").write_text(SCRIPT.format(peers=str(peer.SCRIPTS)))
    monkeypatch.setattr(peer, "SCRIPTS", tmp_path)
    monkeypatch.setattr(peer, "peers_python", lambda: sys.executable)
    return "twice.py"


def test_a_ratio_is_taken_within_each_round():
    # Both are slower by the same in the second round: the ratio does not notice.
    row = versus("features", "images/s", [60.0, 6.0, 40.0], "torch", [20.0, 2.0, 10.0], at_least=3)
    assert row.ratio == (3.0, 3.0, 4.0)
    assert (row.ours, row.theirs) == (40.0, 10.0)
    assert row.met is True and row.goal == "at least 3"


def test_a_missed_goal_is_shown():
    missed = versus("features", "images/s", [3.0], "torch", [2.0], at_least=2)
    assert missed.met is False
    marks = list(bench_table([missed, versus("features", "images/s", [3.0], "keras", [2.0])]).columns[-1].cells)
    assert marks == ["[bold red]missed[/]", ""]


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError):
        versus("features", "images/s", [1.0, 2.0], "torch", [1.0])


@pytest.mark.parametrize(("value", "met"), [(1e-4, True), (2e-4, False), (float("nan"), False)])
def test_a_limit_is_met_at_most_by_itself(value, met):
    assert limit("difference", "", value, at_most=1e-4, required=True).met is met


def test_rounds_go_forth_and_back_after_a_warm_up():
    calls = []
    contenders = {name: clocked(lambda name=name: calls.append(name) or np.array(name)) for name in "abc"}
    results, seconds = time_rounds(contenders, 2)
    assert "".join(calls) == "abc" + "abc" + "cba"
    assert {name: str(result) for name, result in results.items()} == {"a": "a", "b": "b", "c": "c"}
    assert all(len(times) == 2 and min(times) >= 0 for times in seconds.values())


def test_a_peer_computes_in_its_own_process(script):
    with peer.Peer(script, x=np.arange(3)) as other:
        result, seconds = other.contender("twice")()
        assert result.tolist() == [0, 2, 4] and seconds >= 0
    assert other._process.returncode is not None


def test_a_peer_that_fails_is_told_with_its_last_words(script):
    sentence = pytest.raises(CourseError, match="(?s)computed 'wrong'.*ZeroDivisionError")
    with peer.Peer(script, x=np.arange(3)) as other, sentence:
        other.contender("wrong")()


def test_parts_and_profiles_are_checked():
    assert run.check_parts(None, "default") == ["features", "sentences", "heads", "trials"]
    assert run.check_parts(["course", "heads", "course"], "smoke") == ["course", "heads"]
    with pytest.raises(CourseError, match="no part 'speed'; there are features, "):
        run.check_parts(["speed"], "default")
    with pytest.raises(CourseError, match="profile 'quick' is unknown"):
        run.check_parts(["heads"], "quick")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file of results, in a folder that is not there yet."""
    monkeypatch.setattr(run, "RESULTS", tmp_path / "build" / "bench.json")
    return run.RESULTS


def test_the_file_keeps_other_parts(path):
    run.write_part("heads", "smoke", [limit("a", "s", 1.0)])
    run.write_part("trials", "smoke", [limit("b", "s", 2.0)])
    run.write_part("heads", "default", [limit("c", "s", np.float32(3.0), 4.0)])
    parts = json.loads(path.read_text())
    assert parts["trials"]["rows"][0]["what"] == "b"
    (row,) = parts["heads"]["rows"]
    assert parts["heads"]["profile"] == "default" and (row["what"], row["ours"], row["met"]) == ("c", 3.0, True)


def test_a_damaged_file_does_not_lose_the_measurement(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff damaged")
    run.write_part("heads", "smoke", [limit("a", "s", 1.0)])
    assert list(json.loads(path.read_text())) == ["heads"]


def test_an_experiment_is_run_anew_for_its_ratio(monkeypatch):
    said, runs = [{"name": "frozen_speedup", "value": 40.0}, {"name": "gain", "value": 0.1}], []

    def execute(notebook, output, parameters, environment):
        runs.append((notebook.stem, parameters, environment))
        return {"status": "passed", "records": said}

    monkeypatch.setattr(speedups, "execute", execute)
    (row,) = speedups.measure("trials", "default")
    assert (row.ours, row.ratio, row.met) == (40.0, (40.0, 40.0, 40.0), True)
    assert runs == 3 * [("09_optuna_tuning", {}, {"COURSE_MEASURE": "1"})]
    monkeypatch.setattr(speedups, "execute", lambda *_, **__: {"status": "failed", "error": {"message": "no disk"}})
    with pytest.raises(CourseError, match="experiments/02_feature_extraction failed: no disk"):
        speedups.measure("heads", "smoke")


@pytest.mark.parametrize("part", speedups.SPEEDUPS)
def test_an_experiment_records_the_ratio_that_is_asked_of_it(part):
    experiment, figure, *_ = speedups.SPEEDUPS[part]
    assert read_bands()[f"experiments/{experiment}"]["default"]["bands"][figure].timing


def test_no_peer_imports_the_course_and_only_peers_import_torch():
    call = "import sys, course_tools.bench.peer, course_tools.bench.run; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", call], check=True, capture_output=True, text=True).stdout == "False\n"
    texts = {path: path.read_text(encoding="utf-8") for path in (run.ROOT / "course_tools").rglob("*.py")}
    peers = {path for path in texts if path.parent == peer.SCRIPTS}
    assert peers and not any("course_utils" in texts[path] for path in peers)
    assert not any("import torch" in text for path, text in texts.items() if path not in peers)
    assert not any(
        "import torch" in path.read_text(encoding="utf-8") for path in (run.ROOT / "course_utils").rglob("*.py")
    )
