"""One writer at a time in a folder; what killed ones have left there is swept away."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils.errors import CourseError


@contextmanager
def alone_in(folder: Path, other: str) -> Iterator[None]:
    """Let one process at a time write to a folder, which is made, and sweep ``.partial-*`` out of it.

    Raises a CourseError that begins with `other`, such as "Another run is writing to build/", while one is at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            _clear_partials(folder)
            try:
                yield
            finally:
                _clear_partials(folder)
    except Timeout:
        raise CourseError(f"{other}; wait until it has finished.") from None


def _clear_partials(folder: Path) -> None:
    for partial in folder.glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
