"""Files of measurements, read and written: bands, which decide outputs; seconds and results, which do not."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomli_w
from filelock import FileLock

from course_utils.evaluation import expectations
from course_utils.settings import ROOT
from course_utils.whole_file import replacing

SECONDS_PATH = ROOT / "data" / "seconds.toml"
RESULTS_PATH = ROOT / "data" / "results.toml"  # of the last `full` runs
HEADER = "# Written by `course bands`, `course build` and `course results`: do not edit.\n\n"


def update_bands(notebook: str, profile: str, record: dict) -> None:
    """Put these fields into a notebook's record of one profile; the others stay."""
    with tables_to_change(expectations.BANDS_PATH) as known:
        known.setdefault(notebook, {}).setdefault(profile, {}).update(record)


def read_seconds(notebook: str) -> dict[str, float]:
    """Return the seconds that a notebook took, by profile; empty before it was first run."""
    return read_tables(SECONDS_PATH).get(notebook, {})


def update_seconds(notebook: str, profile: str, seconds: float) -> None:
    """Keep how long a notebook took."""
    with tables_to_change(SECONDS_PATH) as known:
        known.setdefault(notebook, {})[profile] = seconds


def read_tables(path: Path) -> dict[str, dict]:
    """Return the tables of a file, by notebook; none before it is first written."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@contextmanager
def tables_to_change(path: Path) -> Iterator[dict[str, dict]]:
    """Yield the tables of a file, by notebook; at the end they are written in order, the file whole or not at all.

    Another process that wants to change them waits until then, so that nobody's entry is lost. After an error the file
    stays as it was.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        known = read_tables(path)
        yield known
        ordered = {name: dict(sorted(known[name].items())) for name in sorted(known)}
        with replacing(path) as partial:
            partial.write_text(HEADER + tomli_w.dumps(ordered), encoding="utf-8")
