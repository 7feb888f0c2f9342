"""The rooms that are compared, one after the other."""

import importlib

from course_tools.agreement.table import Agreement
from course_utils.quiet import stderr_to

ROOMS = ("scores", "transfer", "adaptation", "networks", "text")


def measure_room(name: str) -> list[Agreement]:
    """Return the lines of one room; raise a CourseError when a peer is missing or breaks off."""
    with stderr_to():  # TensorFlow greets on the error stream
        room = importlib.import_module(f"course_tools.agreement.{name}")
    return room.measure()
