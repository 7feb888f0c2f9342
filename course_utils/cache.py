"""Arrays that are computed once and kept on disk, under a key that names all they depend on."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from course_utils.errors import CourseError
from course_utils.settings import cache_dir


def cached(key: str, rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array kept under a key; compute and keep it when there is none.

    Parameters
    ----------
    key : str
        A hash of all that decides the array.
    rows : int
        How many it must have; a damaged file, or one of another key, is computed again.
    compute : callable
        Returns an ndarray with `rows` rows.

    Returns
    -------
    ndarray

    Raises
    ------
    CourseError
        If the disk does not take the array.
    """
    path = cache_dir() / "features" / f"{key}.npz"
    features = read_cached(path, rows)
    if features is None:
        features = compute()
        try:
            write_cached(path, features)
        except OSError as error:
            raise CourseError(
                f"Computed features cannot be kept in {path.parent} ({error.strerror or error}): "
                "free some space, or let COURSE_CACHE name another folder."
            ) from error
    return features


def hash_arrays(digest, arrays: Iterable[np.ndarray]) -> None:
    """Add arrays to a hash of hashlib: type, shape and content."""
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))


def read_cached(path: Path, rows: int) -> np.ndarray | None:
    """Return the array of a cache file, or None when it is missing, damaged or of another key.

    The array is named by its key, so that a file put into the place of another one is noticed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            features = file[path.stem]
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None
    return features if len(features) == rows else None


def write_cached(path: Path, features: np.ndarray) -> None:
    """Write a cache file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **{path.stem: features})
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
