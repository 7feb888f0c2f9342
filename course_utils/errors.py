"""The one error that the course raises on bad input, and the check that many inputs need."""

from numbers import Integral


class CourseError(ValueError):
    """Bad input, told in one sentence: what was wrong and what is accepted."""


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Return the value of a parameter as an int; refuse what is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise CourseError(f"{name}={value!r} is impossible: give a whole number, at least {least}.")
    return int(value)
