"""The whole course: minutes with a cold and a warm cache, and the memory of each notebook."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course_tools.bench.table import Row, limit
from course_tools.notebooks import select_notebooks
from course_tools.run.job import BUILD
from course_utils.errors import CourseError
from course_utils.settings import ROOT, cache_dir
from course_utils.whole_file import read_json

RUN = [sys.executable, "-m", "course_tools.cli", "run", "--force"]
MINUTES = {"cold": 18, "warm": 10}  # goals for the profile `default` with two workers on two cores
GIGABYTES = 6


def measure(profile: str) -> list[Row]:
    """Run the lessons four times; return their minutes and the largest memory of each notebook.

    Weights and data are there from the beginning; what is computed from them is not, with a cold cache.
    """
    rows, memory = [], {}
    (assets := cache_dir().absolute() / "assets").mkdir(parents=True, exist_ok=True)
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="course-cache-") as folder:
            (Path(folder) / "assets").symlink_to(assets, target_is_directory=True)
            for state, goal in MINUTES.items():
                minutes, used = run_course(profile, workers, folder)
                what = f"whole course, {state} cache, {workers} worker{'s' if workers > 1 else ''}"
                rows.append(limit(what, "min", minutes, goal if workers == 2 else None))
                memory = {name: max(gigabytes, memory.get(name, 0)) for name, gigabytes in used.items()}
    return rows + [limit(f"peak memory, {name}", "GB", value, GIGABYTES) for name, value in sorted(memory.items())]


def run_course(profile: str, workers: int, cache: str) -> tuple[float, dict[str, float]]:
    """Execute the lessons with a cache of their own; return the minutes, and gigabytes by notebook."""
    start = time.perf_counter()
    command = [*RUN, "--profile", profile, "--workers", str(workers)]
    environment = os.environ | {"COURSE_CACHE": cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    minutes = (time.perf_counter() - start) / 60
    if done.returncode:
        raise CourseError(f"`course run` failed:\n{(done.stderr or done.stdout).strip()[-1000:]}")
    keys = [notebook.key for notebook in select_notebooks()]
    return minutes, {key: read_json(BUILD / f"{key}.json")["gigabytes"] for key in keys}
