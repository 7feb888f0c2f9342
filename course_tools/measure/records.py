"""The two files of measurements, as they are written: bands, which decide outputs, and seconds, which do not."""

import tomllib
from pathlib import Path

import tomli_w

from course_utils.evaluation import expectations
from course_utils.settings import ROOT
from course_utils.whole_file import replacing

SECONDS_PATH = ROOT / "data" / "seconds.toml"
HEADER = "# Written by `course bands` and `course build`: do not edit.\n\n"


def update_bands(notebook: str, profile: str, record: dict) -> None:
    """Put these fields into a notebook's record of one profile; the others stay."""
    known = _read(expectations.BANDS_PATH)
    known.setdefault(notebook, {}).setdefault(profile, {}).update(record)
    _write(expectations.BANDS_PATH, known)


def read_seconds(notebook: str) -> dict[str, float]:
    """Return the seconds that a notebook took, by profile; empty before it was first run."""
    return _read(SECONDS_PATH).get(notebook, {})


def update_seconds(notebook: str, profile: str, seconds: float) -> None:
    """Keep how long a notebook took."""
    known = _read(SECONDS_PATH)
    known.setdefault(notebook, {})[profile] = seconds
    _write(SECONDS_PATH, known)


def _read(path: Path) -> dict[str, dict]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, known: dict[str, dict]) -> None:
    """Write the file whole or not at all, in order."""
    ordered = {name: dict(sorted(known[name].items())) for name in sorted(known)}
    with replacing(path) as partial:
        partial.write_text(HEADER + tomli_w.dumps(ordered), encoding="utf-8")
