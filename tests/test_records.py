"""Files of measurements: what is written anew, what stays, in which order, and by several processes at once."""

import subprocess
import sys
import tomllib

import pytest

from course_tools.measure import records
from course_utils.evaluation import expectations

WRITER = """
import sys
from pathlib import Path
from course_tools.measure import records
records.SECONDS_PATH = Path(sys.argv[1])
for number in range(50):
    records.update_seconds(f"{sys.argv[2]}{number}", "default", 1.5)
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(expectations, "BANDS_PATH", tmp_path / "bands.toml")
    monkeypatch.setattr(records, "SECONDS_PATH", tmp_path / "seconds.toml")
    return tmp_path


def test_fields_of_one_profile_are_written_and_all_others_stay(files):
    records.update_bands("02_b", "default", {"seeds": [0, 1], "versions": {"keras": "3"}})
    records.update_bands("01_a", "smoke", {"seeds": [5]})
    records.update_bands("02_b", "default", {"seeds": [2]})
    records.update_bands("02_b", "smoke", {"about": "± ein Maß"})
    text = (files / "bands.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {
        "01_a": {"smoke": {"seeds": [5]}},
        "02_b": {"default": {"seeds": [2], "versions": {"keras": "3"}}, "smoke": {"about": "± ein Maß"}},
    }
    assert text.startswith("# Written by `course bands`") and not (files / "seconds.toml").exists()


def test_seconds_are_kept_by_profile_in_order_of_the_names(files):
    assert records.read_seconds("01_a") == {}
    for notebook, profile, seconds in (("02_b", "smoke", 3.0), ("02_b", "default", 65.2), ("01_a", "full", 900.5)):
        records.update_seconds(notebook, profile, seconds)
    records.update_seconds("02_b", "smoke", 4.0)
    assert records.read_seconds("02_b") == {"smoke": 4.0, "default": 65.2} and records.read_seconds("03_c") == {}
    lines = [line for line in (files / "seconds.toml").read_text(encoding="utf-8").splitlines() if line]
    assert lines[1:] == ["[01_a]", "full = 900.5", "[02_b]", "default = 65.2", "smoke = 4.0"]


def test_a_writing_that_fails_leaves_the_file_as_it_was(files):
    records.update_seconds("01_a", "default", 1.0)
    with pytest.raises(TypeError):
        records.update_seconds("01_a", "smoke", object())
    assert records.read_seconds("01_a") == {"default": 1.0} and len(list(files.glob("*.toml"))) == 1


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "seconds.toml"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert records.read_tables(path) == {
        f"{letter}{number}": {"default": 1.5} for letter in "ab" for number in range(50)
    }


def test_after_an_error_the_file_stays_as_it_was(tmp_path):
    path = tmp_path / "seconds.toml"
    path.write_text("[a]\ndefault = 1.5\n")
    with pytest.raises(KeyError), records.tables_to_change(path) as known:
        known["a"]["default"] = 2.5
        raise KeyError
    assert path.read_text() == "[a]\ndefault = 1.5\n"
