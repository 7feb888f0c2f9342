"""The parts of the benchmark, one after the other, and the file that keeps what they found."""

import importlib
import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from course_tools.bench import speedups
from course_tools.bench.table import Row
from course_tools.parameters import check_profile
from course_utils.errors import CourseError
from course_utils.quiet import stderr_to
from course_utils.settings import ROOT
from course_utils.whole_file import read_json, replacing

BESIDE_PYTORCH = ("features", "sentences")
SHORT = (*BESIDE_PYTORCH, *speedups.SPEEDUPS)  # minutes each
PARTS = (*SHORT, "course")  # this one takes over an hour
RESULTS = ROOT / "build" / "bench.json"
PACKAGES = ("tensorflow", "keras", "numpy", "optuna")


def check_parts(names: list[str] | None, profile: str) -> list[str]:
    """Return the parts to run, the short ones when none is named.

    Raises a CourseError for a part or a profile that does not exist.
    """
    if unknown := [name for name in names or [] if name not in PARTS]:
        raise CourseError(f"There is no part {unknown[0]!r}; there are {', '.join(PARTS)}.")
    check_profile(profile)
    return list(dict.fromkeys(names or SHORT))


def run_part(name: str, profile: str) -> list[Row]:
    """Measure one part; keep its lines in the file, beside those of other parts."""
    if name in speedups.SPEEDUPS:
        rows = speedups.measure(name, profile)
    else:
        with stderr_to():  # TensorFlow greets on the error stream
            part = importlib.import_module(f"course_tools.bench.{name}")
        rows = part.measure(profile)
    write_part(name, profile, rows)
    return rows


def write_part(name: str, profile: str, rows: list[Row]) -> None:
    """Replace one part in the file of results, with what its figures depend on: time, processor, cores, versions."""
    RESULTS.parent.mkdir(exist_ok=True)
    parts = read_json(RESULTS) or {}  # of a damaged file nothing: an hour's measurement must not be lost to that
    parts[name] = {
        "profile": profile,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "rows": [asdict(row) for row in rows],
    }
    with replacing(RESULTS) as partial:
        partial.write_text(json.dumps(parts, indent=1), encoding="utf-8")
