"""The whole course: minutes with a cold and a warm cache, and the memory of each notebook."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course_tools.bench.table import Row, limit
from course_utils.errors import CourseError
from course_utils.settings import ROOT, cache_dir

RUN = [sys.executable, "-c", "from course_tools.cli import main; main()", "run", "--force"]
BUILD = ROOT / "build"
WORKERS = (1, 2)
MINUTES = {"cold": 18, "warm": 10}  # goals for the profile `default` with two workers on two cores
GIGABYTES = 6


def measure(profile: str) -> list[Row]:
    """Run the course four times; return its minutes and the largest memory of each notebook.

    Weights and data are there from the beginning; what is computed from them is not, with a cold cache.
    """
    rows, memory = [], {}
    for workers in WORKERS:
        with tempfile.TemporaryDirectory(prefix="course-cache-") as folder:
            link_assets(Path(folder))
            for state, goal in MINUTES.items():
                minutes, used = run_course(profile, workers, folder)
                what = f"whole course, {state} cache, {workers} worker{'s' if workers > 1 else ''}"
                rows.append(limit(what, "min", minutes, goal if workers == 2 else None))
                memory = {name: max(gigabytes, memory.get(name, 0)) for name, gigabytes in used.items()}
    return rows + [limit(f"peak memory, {name}", "GB", value, GIGABYTES) for name, value in sorted(memory.items())]


def link_assets(folder: Path) -> None:
    """Give an empty cache the fetched weights and data."""
    assets = cache_dir().absolute() / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    (folder / "assets").symlink_to(assets, target_is_directory=True)


def run_course(profile: str, workers: int, cache: str) -> tuple[float, dict[str, float]]:
    """Execute the lessons with a cache of their own; return the minutes, and gigabytes by notebook."""
    start, began = time.perf_counter(), time.time()
    command = [*RUN, "--profile", profile, "--workers", str(workers)]
    environment = os.environ | {"COURSE_CACHE": cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    minutes = (time.perf_counter() - start) / 60
    if done.returncode:
        raise CourseError(f"`course run` failed:\n{(done.stderr or done.stdout).strip()[-1000:]}")
    paths = [*BUILD.glob("[0-9][0-9]_*.json"), *BUILD.glob("experiments/[0-9][0-9]_*.json")]
    fresh = [path for path in paths if path.stat().st_mtime >= began]
    return minutes, {
        path.relative_to(BUILD).with_suffix("").as_posix(): json.loads(path.read_text(encoding="utf-8"))["gigabytes"]
        for path in fresh
    }
