"""Files appear whole or not at all; what is damaged is as good as missing."""

import os
import platform
import subprocess
import sys

import pytest

from course_utils.errors import CourseError
from course_utils.whole_file import kept_in, read_json, replacing


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1")
    with replacing(path) as partial:
        partial.write_text("2")
        assert read_json(path) == 1
    assert read_json(path) == 2 and list(tmp_path.iterdir()) == [path]


def test_a_failed_writing_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1")
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("2")
        raise KeyError
    assert read_json(path) == 1 and list(tmp_path.iterdir()) == [path]


def test_only_what_ended_processes_of_this_host_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    here = f".a.json.partial-{platform.node()}"
    left, at_work = f"{here}-{ended.pid}-1", f"{here}-{os.getppid()}-1"
    others = [at_work, f".a.json.partial-elsewhere-{ended.pid}-1", f".b.json.partial-{platform.node()}-{ended.pid}-1"]
    for name in (left, *others):
        (tmp_path / name).touch()
    (tmp_path / f"{here}-{ended.pid}-2").mkdir()
    with replacing(tmp_path / "a.json") as partial:
        partial.write_text("1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "a.json"])


def test_the_folder_of_what_is_kept_is_made_once_and_its_want_of_room_told(tmp_path):
    folder = tmp_path / "cache" / "features"
    for _ in range(2):
        with kept_in(folder, "Features"):
            assert folder.is_dir()
    for megabytes, room in ((0, "some space"), (12.4, "at least 12 MB")):
        with pytest.raises(CourseError, match=f"Weights cannot be kept in .*features .*: free {room} there"):
            with kept_in(folder, "Weights", megabytes):
                raise OSError(28, "No space left on device")


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_what_is_damaged_or_missing_reads_as_nothing(tmp_path, content):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    path.write_bytes(content)
    assert read_json(path) is None
