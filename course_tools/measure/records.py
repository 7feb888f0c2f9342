"""Files of measurements, read and written: bands, which decide outputs; seconds and results, which do not."""

import tomllib
from pathlib import Path

import tomli_w

from course_utils.evaluation import expectations
from course_utils.settings import ROOT
from course_utils.whole_file import replacing

SECONDS_PATH = ROOT / "data" / "seconds.toml"
RESULTS_PATH = ROOT / "data" / "results.toml"  # of the last `full` runs
HEADER = "# Written by `course bands`, `course build` and `course results`: do not edit.\n\n"


def update_bands(notebook: str, profile: str, record: dict) -> None:
    """Put these fields into a notebook's record of one profile; the others stay."""
    known = read_tables(expectations.BANDS_PATH)
    known.setdefault(notebook, {}).setdefault(profile, {}).update(record)
    write_tables(expectations.BANDS_PATH, known)


def read_seconds(notebook: str) -> dict[str, float]:
    """Return the seconds that a notebook took, by profile; empty before it was first run."""
    return read_tables(SECONDS_PATH).get(notebook, {})


def update_seconds(notebook: str, profile: str, seconds: float) -> None:
    """Keep how long a notebook took."""
    known = read_tables(SECONDS_PATH)
    known.setdefault(notebook, {})[profile] = seconds
    write_tables(SECONDS_PATH, known)


def read_tables(path: Path) -> dict[str, dict]:
    """Return the tables of a file, by notebook; none before it is first written."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_tables(path: Path, known: dict[str, dict]) -> None:
    """Write the file whole or not at all, in order."""
    ordered = {name: dict(sorted(known[name].items())) for name in sorted(known)}
    with replacing(path) as partial:
        partial.write_text(HEADER + tomli_w.dumps(ordered), encoding="utf-8")
