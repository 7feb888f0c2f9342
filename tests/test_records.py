"""Files of measurements keep the entries of all processes that write them at once."""

import subprocess
import sys

import pytest

from course_tools.measure.records import read_tables, tables_to_change

WRITER = """
import sys
from pathlib import Path
from course_tools.measure import records
records.SECONDS_PATH = Path(sys.argv[1])
for number in range(50):
    records.update_seconds(f"{sys.argv[2]}{number}", "default", 1.5)
"""


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "seconds.toml"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert read_tables(path) == {f"{letter}{number}": {"default": 1.5} for letter in "ab" for number in range(50)}


def test_after_an_error_the_file_stays_as_it_was(tmp_path):
    path = tmp_path / "seconds.toml"
    path.write_text("[a]\ndefault = 1.5\n")
    with pytest.raises(KeyError), tables_to_change(path) as known:
        known["a"]["default"] = 2.5
        raise KeyError
    assert path.read_text() == "[a]\ndefault = 1.5\n"
