"""Where things are, and the one error that the course raises on bad input."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The public address of the repository; Colab badge and clone line appear once it is set.
REPOSITORY_URL = ""

LIMIT_MINUTES = 90.0  # that one notebook may run


class CourseError(ValueError):
    """Bad input, told in one sentence: what was wrong and what is accepted."""


def cache_dir() -> Path:
    """Return the folder of fetched and computed files; the variable ``COURSE_CACHE`` moves it.

    A relative path begins at the root of the checkout, for kernels run in another folder than the command line.
    """
    return ROOT / (os.environ.get("COURSE_CACHE") or "data/cache")
