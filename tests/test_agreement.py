"""The table of agreement: what agrees, what does not, what the command says. No peer is asked."""

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from course_tools import cli
from course_tools.agreement import run
from course_tools.agreement.table import Agreement, agreement_table, beside, compare, peer_versions
from course_tools.bench import peer
from course_utils.errors import CourseError
from course_utils.settings import ROOT

ECHO = """
import sys
sys.path.append({peers!r})
from serving import serve
serve(lambda inputs: {{"x": lambda: inputs["x"]}})
"""


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setattr(peer, "peers_python", lambda: sys.executable)


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.25], 0.25),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], 1),
        ([True, False], [1, 0], 0),
        (["a b", "c"], ["a b", "d"], 1),
        ([1.0, 2.0], [1.0], np.inf),  # another number of cases, which would otherwise broadcast
        ([1.0], [[1.0]], np.inf),
        ([], [], np.inf),  # nothing was compared
    ],
)
def test_the_largest_difference(ours, theirs, difference):
    line = compare("x", "numpy", ours, theirs, 0.5)
    assert line.difference == difference and line.cases == len(ours)
    assert line.agrees is (difference <= 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_agrees(value):
    assert not compare("x", "numpy", [value, 1.0], [value, 1.0], 0.5).agrees
    assert not compare("x", "numpy", [1.0], [value], 0.5).agrees


def test_a_script_of_the_peers_is_asked(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(ECHO.format(peers=str(peer.SCRIPTS)))
    monkeypatch.setattr(peer, "SCRIPTS", tmp_path)
    rows = [("same", "numpy", "x", 0, [1.0, 2.0]), ("later", "numpy", "x", 0, lambda: [1.0, 3.0])]
    same, later = beside("echo.py", {"x": np.array([1.0, 2.0])}, rows)
    assert same.agrees and not later.agrees and later.difference == 1


def test_the_table_names_versions_and_marks():
    lines = [Agreement("a", "numpy, own formula", 2000, 0.0, 1e-6), Agreement("b", "pytest", 1, 0.1, 1e-6)]
    versions = peer_versions(lines)
    assert versions == {"numpy": np.__version__, "pytest": pytest.__version__}
    columns = [list(column.cells) for column in agreement_table(lines, versions).columns]
    assert columns[1] == [f"numpy {np.__version__}, own formula", f"pytest {pytest.__version__}"]
    assert columns[2] == ["2,000", "1"] and columns[5] == ["[green]yes[/]", "[bold red]no[/]"]


def test_the_command_ends_with_1_when_one_disagrees(monkeypatch):
    lines = {"scores": [Agreement("a", "numpy", 1, 0.0, 0)], "transfer": [Agreement("b", "numpy", 1, 1.0, 0)]}
    monkeypatch.setattr(run, "measure_room", lambda name: lines.get(name, []))
    found = CliRunner().invoke(cli.app, ["peers"])
    assert found.exit_code == 1 and "1 of 2 agree" in found.stdout
    del lines["transfer"]
    assert CliRunner().invoke(cli.app, ["peers"]).exit_code == 0


def test_a_room_that_fails_is_told_and_the_others_go_on(monkeypatch):
    def measure(name):
        if name == "scores":
            raise CourseError("The peer broke off.")
        return [Agreement(name, "numpy", 1, 0.0, 0)]

    monkeypatch.setattr(run, "measure_room", measure)
    found = CliRunner().invoke(cli.app, ["peers"])
    assert found.exit_code == 1 and "scores failed: The peer broke off." in found.stdout
    assert f"{len(run.ROOMS) - 1} of {len(run.ROOMS) - 1} agree" in found.stdout


def test_every_room_can_be_measured():
    files = {path.stem for path in (ROOT / "course_tools" / "agreement").glob("*.py")}
    assert files == {*run.ROOMS, "__init__", "run", "table"}
    for room in run.ROOMS:
        assert (peer.SCRIPTS / f"agree_{room}.py").exists()


def test_without_the_peers_one_sentence_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(peer, "peers_python", lambda: None)
    with pytest.raises(CourseError, match="no .venv-peers/ with PyTorch; `make .venv-peers/ready` sets it up"):
        CliRunner().invoke(cli.app, ["peers"], catch_exceptions=False)
