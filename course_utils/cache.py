"""Arrays that are computed once and kept on disk, under a key that names all they depend on."""

from collections.abc import Callable, Iterable

import numpy as np

from course_utils.settings import cache_dir
from course_utils.whole_file import kept_in, read_arrays, replacing


def cached(key: str, rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array kept under a key; compute and keep it when there is none.

    Parameters
    ----------
    key : str
        A hash of all that decides the array. The array is named by it within its file, so that a file put into the
        place of another one is noticed.
    rows : int
        How many it must have; a damaged file, or one of another key, is computed again.
    compute : callable
        Returns an ndarray with `rows` rows.

    Raises
    ------
    CourseError
        If the disk does not take the array.
    """
    path = cache_dir() / "features" / f"{key}.npz"
    kept = read_arrays(path, [key])
    if kept and len(kept[0]) == rows:
        return kept[0]
    features = compute()
    with kept_in(path.parent, "Computed features"), replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **{key: features})
    return features


def hash_arrays(digest, arrays: Iterable[np.ndarray]) -> None:
    """Add arrays to a hash of hashlib: type, shape and content."""
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
