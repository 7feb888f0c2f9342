"""What Windows would make of the course's paths, as far as its rules for names can be tried elsewhere."""

import re
import subprocess
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from course_tools import notebooks
from course_tools.notebooks import Notebook, all_notebooks
from course_tools.publish import readme
from course_tools.run.sweep import sweep_jobs
from course_utils.data.catalog import load_catalog
from course_utils.settings import ROOT

REFUSED = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
LONGEST = 260 - 60  # characters of a whole path, less those of the folder into which the course is cloned


def refused(path):
    """Return the parts of a path with slashes that Windows does not take as names."""
    return [part for part in PurePosixPath(path).parts if REFUSED.search(part)]


@pytest.mark.parametrize("path", ["a:b", "what?.md", "aux.py", "docs/nul", "end.", "a\\b"])
def test_a_name_that_windows_refuses_is_seen(path):
    assert refused(path)


def test_windows_takes_every_file_of_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository here")
    files = listed.stdout.rstrip("\0").split("\0")
    assert [file for file in files if refused(file) or len(file) > LONGEST] == []
    assert len({file.lower() for file in files}) == len(files)  # there, upper and lower case are the same


def test_windows_takes_the_names_of_what_is_fetched():
    for asset in load_catalog().values():
        member = asset.member or asset.file or asset.name
        assert PureWindowsPath(member).name == PurePosixPath(member).name and not refused(member), asset.name


def test_links_of_the_readme_have_slashes_when_made_on_windows(monkeypatch):
    for module in (notebooks, readme):
        monkeypatch.setattr(module, "ROOT", PureWindowsPath(r"C:\Users\A Reader\course"))
    assert readme._address(Notebook("02_a", True)) == "notebooks/experiments/02_a.ipynb"


def test_windows_takes_the_names_of_runs_over_its_own_paths():
    lesson = all_notebooks("lessons")[1]
    jobs = sweep_jobs([lesson], "smoke", {"FOLDER": r"C:\my images,D:\?*<a>"})
    assert len(jobs) == 2 and not any(refused(job.output.relative_to(ROOT).as_posix()) for job in jobs)
