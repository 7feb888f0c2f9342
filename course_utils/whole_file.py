"""Files and folders that appear whole or not at all, and what is read of those that did not."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from course_utils.errors import CourseError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path beside ``path`` for a file or folder; at the end it replaces ``path``, after an error it goes.

    Processes may do so at once: each writes to a path of its own, ``.NAME.partial-…``, and the last one stays.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


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
