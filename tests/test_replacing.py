"""Files and folders appear whole while several processes write them, and arrays that are damaged read as nothing."""

import subprocess
import sys

import numpy as np
import pytest

from course_utils.errors import CourseError
from course_utils.whole_file import kept_in, read_arrays, replacing

WRITER = """
import sys
from pathlib import Path
from course_utils.whole_file import replacing
for _ in range(300):
    with replacing(Path(sys.argv[1])) as partial:
        with partial.open("w") as file:
            for _ in range(100):
                file.write(sys.argv[2])
"""


def test_writers_at_once_never_mix_nor_take_each_others_file(tmp_path):
    path = tmp_path / "file.txt"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen | {path.read_text()} <= {100 * letter for letter in "abc"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    code = (
        "import os, sys, pathlib\nfrom course_utils.whole_file import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as partial:\n    partial.touch()\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "file.txt"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(tmp_path / "file.txt") as partial:
        partial.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "folder"
    for name in ("old", "new"):
        with replacing(folder) as partial:
            partial.mkdir()
            (partial / name).touch()
    with pytest.raises(KeyError), replacing(folder) as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "new"]


def test_what_the_disk_does_not_take_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match=r"Features cannot be kept in .*: free some space there"):
        with kept_in(tmp_path / "file" / "folder", "Features"):
            pass


def test_arrays_are_read_by_name_or_not_at_all(tmp_path):
    path = tmp_path / "arrays.npz"
    assert read_arrays(path, ["x"]) is None
    np.savez(path, x=np.arange(3), y=np.array([None]))
    assert read_arrays(path, ["x"])[0].tolist() == [0, 1, 2]
    assert read_arrays(path, ["x", "z"]) is None
    assert read_arrays(path, ["y"]) is None  # would need pickle
    path.write_bytes(path.read_bytes()[:-40])
    assert read_arrays(path, ["x"]) is None
