"""Files and folders that appear whole or not at all, and what is read of those that did not."""

import glob
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from course_utils.errors import CourseError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path beside ``path`` for a file or folder; at the end it replaces ``path``, after an error it goes.

    Processes may do so at once: each writes to a path of its own, ``.NAME.partial-HOST-PROCESS-…``, and the last one
    stays. What a killed process of this host has left is removed.
    """
    mark = f".{path.name}.partial-{platform.node()}-"
    for stale in path.parent.glob(f"{glob.escape(mark)}*"):
        if not psutil.pid_exists(int(stale.name.removeprefix(mark).partition("-")[0])):
            _remove(stale)
    partial = path.with_name(f"{mark}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def kept_in(folder: Path, what: str, megabytes: float = 0) -> Iterator[None]:
    """Make a folder of the cache to write ``what`` into; tell in one sentence when the disk takes no more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        space = f"at least {megabytes:.0f} MB" if megabytes else "some space"
        raise CourseError(
            f"{what} cannot be kept in {folder} ({error.strerror or error}): free {space} there,"
            " or let COURSE_CACHE name another folder."
        ) from error


def read_json(path: Path) -> object:
    """Return what a file of JSON holds, None where it is missing or damaged: its next writer makes it anew."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def read_arrays(path: Path, names: list[str]) -> list[np.ndarray] | None:
    """Return arrays of an npz file, None where it is missing, damaged or lacks one; nothing in it is executed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except Exception:  # damaged bytes fail in many ways, which all mean the same
        return None
