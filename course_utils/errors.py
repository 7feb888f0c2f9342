"""The one error that the course raises on bad input, and the checks that many inputs need."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike


class CourseError(ValueError):
    """Bad input, told in one sentence: what was wrong and what is accepted."""


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Return the value of a parameter as an int; refuse what is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise CourseError(f"{name}={value!r} is impossible: give a whole number, at least {least}.")
    return int(value)


def plain_array(role: str, values: ArrayLike) -> np.ndarray:
    """Return the values as an array; refuse masked entries, whose mask would be lost, and rows of unequal lengths."""
    if np.ma.is_masked(values):
        raise CourseError(f"{role} hold masked entries; drop these first.")
    try:
        return np.asarray(values)
    except ValueError:
        raise CourseError(f"{role} do not form one array: their lengths differ.") from None


def as_floats(values: ArrayLike, role: str) -> np.ndarray:
    """Return the values as a float64 array; refuse all but finite numbers."""
    array = plain_array(role, values)
    try:
        floats = array.astype(np.float64) if array.dtype.kind in "biufO" else None
    except (TypeError, ValueError):
        floats = None
    if floats is None:
        raise CourseError(f"{role} are not numbers; accepted is an array of floats.")
    if not (finite := np.isfinite(floats)).all():
        row = np.argwhere(np.atleast_1d(~finite))[0, 0]
        raise CourseError(f"{role} hold {floats[~finite][0]} in row {row}; accepted are finite numbers.")
    return floats
