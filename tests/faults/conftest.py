"""Fixtures of the faults: a house, disks that are too small or read-only, and the real cache to copy from."""

import os
import subprocess

import pytest
from house import House

from course_utils.settings import cache_dir


@pytest.fixture
def house(tmp_path):
    """A house without notebooks, whose processes are ended after the test."""
    built = House(tmp_path / "house")
    yield built
    for process in built.processes():
        process.kill()


@pytest.fixture
def mount():
    """Return a function that calls ``mount`` on a folder; all is unmounted after the test."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk that is too small, or a folder that is read-only")
    mounted = []

    def call(*options, folder):
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
        mounted.append(folder)

    yield call
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@pytest.fixture
def small_disk(mount):
    """Return a function that makes a folder a disk of so many megabytes; called again, the disk takes that size."""
    known = set()

    def make(folder, megabytes):
        remount = "remount," if folder in known else ""
        known.add(folder)
        mount("-t", "tmpfs", "-o", f"{remount}size={megabytes}m", "tmpfs", folder=folder)

    return make


@pytest.fixture
def read_only(mount):
    """Return a function that makes a folder read-only, also for root."""

    def make(folder):
        mount("--bind", str(folder), folder=folder)
        mount("-o", "remount,ro,bind", folder=folder)

    return make


@pytest.fixture
def real_cache():
    """The folder of the fetched models and data, to copy from."""
    if not (cache_dir() / "assets").is_dir():
        pytest.skip("nothing is fetched yet: `course fetch`")
    return cache_dir().absolute()
