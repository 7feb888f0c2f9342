"""Where things are."""

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parents[1]
IS_CHECKOUT = (ROOT / "notebooks").is_dir()


def cache_dir() -> Path:
    """Return the folder of fetched and computed files; the variable ``COURSE_CACHE`` moves it.

    By default it is ``data/cache`` in a checkout, else the user's cache. A relative path begins at the
    root of the checkout, for kernels run in another folder than the command line.
    """
    if named := os.environ.get("COURSE_CACHE"):
        return ROOT / Path(named).expanduser()
    return ROOT / "data/cache" if IS_CHECKOUT else platformdirs.user_cache_path("transfer-learning-course")
