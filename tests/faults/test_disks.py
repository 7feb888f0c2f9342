"""Disks that are full or read-only: one sentence, nothing lost, and the same command goes on from there."""

import shutil

import nbformat
import numpy as np
import pytest
from house import FIGURE, one_sentence, table_of

from course_utils.cache import cached
from course_utils.errors import CourseError

LARGE = "import os\nprint(os.urandom(10**6).hex())"  # 2 MB of output
SOURCE = """\
# ---
# jupyter:
#   course:
#     title: A title
#     question: Does it work?
#     goals: [see it]
#     prerequisites: [none]
#     recap: [It worked.]
#     references: [openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0

# %%
CODE
"""


def write_source(house, code):
    (house.folder / "notebooks" / "source" / "01_built.py").write_text(SOURCE.replace("CODE", code), encoding="utf-8")


@pytest.mark.parametrize("source", ["pip", "archives"])
def test_full_disk_while_fetching(house, small_disk, source):
    archive = house.asset("large", megabytes=4)
    house.cache.mkdir()
    if source == "archives":
        (house.folder / "own").mkdir()
        shutil.move(archive, house.folder / "own")
        (house.cache / "archives").symlink_to(house.folder / "own")
    small_disk(house.cache / "assets", megabytes=1)
    code, _, errors = house.course("fetch", "large")
    sentence = one_sentence(errors)
    assert code == 2 and "The asset large cannot be kept in" in sentence and "No space left on device" in sentence
    assert "free at least 12 MB" in sentence and not house.fetched("large")

    small_disk(house.cache / "assets", megabytes=16)
    assert house.course("fetch", "large")[0] == 0 and house.fetched("large")


def test_full_disk_while_running(house, small_disk):
    house.notebook("01_small", FIGURE)
    small_disk(house.build, megabytes=1)
    assert house.course("run")[0] == 0
    kept = {path.name: path.read_bytes() for path in house.build.glob("01_small.*")}
    house.notebook("02_large", LARGE)
    code, output, errors = house.course("run")
    assert code == 1 and "02_large failed" in output and "No space left on device" in output
    assert "Traceback" not in errors and "│passed│" in table_of(output)[0]
    assert {path.name for path in house.build.iterdir()} == {".lock", *kept}
    assert {path.name: path.read_bytes() for path in house.build.glob("01_small.*")} == kept

    small_disk(house.build, megabytes=32)
    code, output, _ = house.course("run")
    assert code == 0 and [row.split("│")[-2] for row in table_of(output)] == ["passed", "passed"]
    assert "01_small: passed" not in output  # it was not executed again


def test_full_disk_while_building(house, small_disk):
    notebooks, bands = (house.folder / "notebooks", house.folder / "course_utils" / "evaluation" / "bands.toml")
    shutil.move(notebooks, house.folder / "moved")
    small_disk(notebooks, megabytes=1)
    shutil.copytree(house.folder / "moved", notebooks, dirs_exist_ok=True)
    write_source(house, "1 + 1")
    assert house.course("build", "01")[0] == 0
    stored, measured = (notebooks / "01_built.ipynb").read_bytes(), bands.read_bytes()
    write_source(house, LARGE)
    code, _, errors = house.course("build", "01")
    sentence = one_sentence(errors)
    assert code == 2 and "No space left on device" in sentence and "free some space" in sentence
    assert (notebooks / "01_built.ipynb").read_bytes() == stored and bands.read_bytes() == measured
    assert {path.name for path in notebooks.iterdir()} == {"source", "01_built.ipynb"}

    small_disk(notebooks, megabytes=32)
    assert house.course("build", "01")[0] == 0 and (notebooks / "01_built.ipynb").read_bytes() != stored


def test_full_disk_while_features_are_kept(tmp_path, monkeypatch, small_disk):
    small_disk(tmp_path / "cache", megabytes=1)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        CourseError, match=r"cannot be kept in .*No space left on device\): free some space there, or let COURSE_CACHE"
    ):
        cached("key", 1000, lambda: np.zeros((1000, 1000)))
    assert not list((tmp_path / "cache" / "features").iterdir())


def test_read_only_notebooks_run_and_are_not_built(house, read_only):
    write_source(house, "1 + 1")
    assert house.course("build", "01")[0] == 0
    stored = house.folder / "notebooks" / "01_built.ipynb"
    before = stored.read_bytes()
    read_only(house.folder / "notebooks")
    assert house.course("run")[0] == 0
    code, _, errors = house.course("build", "01")
    sentence = one_sentence(errors)
    assert code == 2 and "Read-only file system" in sentence and "make the folder writable" in sentence
    assert stored.read_bytes() == before and nbformat.read(stored, as_version=4)


def test_read_only_build_is_told(house, read_only):
    house.notebook("01_small", FIGURE)
    house.build.mkdir()
    read_only(house.build)
    code, _, errors = house.course("run")
    assert code == 2 and "Read-only file system" in one_sentence(errors) and str(house.build) in one_sentence(errors)
