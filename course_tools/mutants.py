"""Mutants: plausible mistakes, each put into a copy of the course, to see that a check notices it.

References
----------
DeMillo, Lipton & Sayward (1978), "Hints on test data selection", Computer 11(4), https://doi.org/10.1109/C-M.1978.218136
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.settings import ROOT, cache_dir
from course_utils.whole_file import read_json, replacing

MUTANTS_PATH = ROOT / "tests" / "mutants.toml"
COPIED = (
    "course_utils",
    "course_tools",
    "data",
    "notebooks",
    "tests",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
)
LIMIT = 900  # seconds for one check
# What a check says of the mistake that it found: a test's name, a figure's, or a sentence. A copy that cannot even be
# imported says none of these: there the mutant is broken, and no check has noticed anything.
FOUND = (r"^(?:FAILED|ERROR) (\S+::\S+)", r"BandError: (\w+)", r"(?:Assertion|Course)Error: ([^\n]{1,60})")


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file`, `before` becomes `after`; it would teach what `teaches` says.

    `check` is the cheapest sufficient one: arguments of pytest, or ``build NN``, which executes a notebook
    and compares its figures with their bands.
    """

    name: str
    file: str
    before: str
    after: str
    teaches: str
    check: str


@dataclass(frozen=True)
class Outcome:
    """How a check ended: whether it passed, and what it found, empty when it ended otherwise than by a check."""

    name: str
    passed: bool
    found: str
    seconds: float


def read_mutants(names: list[str] | None = None) -> list[Mutant]:
    """Return the mutants of the file, or those with the given names.

    Raises a CourseError for an unknown name, or a mutant whose text is not found exactly once.
    """
    tables = tomllib.loads(MUTANTS_PATH.read_text(encoding="utf-8"))
    if unknown := [name for name in names or [] if name not in tables]:
        raise CourseError(f"There is no mutant {unknown[0]!r}; there are {', '.join(tables)}.")
    mutants = [Mutant(name, **table) for name, table in tables.items() if not names or name in names]
    for mutant in mutants:
        count = (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.before)
        if count != 1:
            raise CourseError(
                f"The mutant {mutant.name} looks for a text that is {count} times in {mutant.file}; once is needed."
            )
    return mutants


def run_mutants(mutants: list[Mutant], workers: int) -> Iterator[Outcome]:
    """Run each check on an unchanged copy, then on a copy with each mutant; yield the outcomes as they come.

    Outcomes of unchanged copies come first, under the name of the check: one that fails there proves nothing.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        for wave in (
            [pool.submit(_outcome, check, check, None) for check in dict.fromkeys(mutant.check for mutant in mutants)],
            [pool.submit(_outcome, mutant.name, mutant.check, mutant) for mutant in mutants],
        ):
            for future in as_completed(wave):
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, or where no more is wanted, those in the queue do not run


def write_outcomes(outcomes: list[Outcome]) -> Path:
    """Write what was noticed to ``build/mutants.json``, in place of what is there of these mutants; return the path."""
    path = ROOT / "build" / "mutants.json"
    path.parent.mkdir(exist_ok=True)
    kept = {row["name"]: row for row in read_json(path) or []}
    kept |= {outcome.name: asdict(outcome) for outcome in outcomes}
    with replacing(path) as partial:
        partial.write_text(json.dumps(list(kept.values()), indent=1), encoding="utf-8")
    return path


def _outcome(name: str, check: str, mutant: Mutant | None) -> Outcome:
    with _copy_of_the_course() as folder:
        if mutant:
            file = folder / mutant.file
            file.write_text(file.read_text(encoding="utf-8").replace(mutant.before, mutant.after), encoding="utf-8")
        begin = time.perf_counter()
        passed, found = _run_check(check, folder)
    return Outcome(name, passed, found, time.perf_counter() - begin)


def _run_check(check: str, folder: Path) -> tuple[bool, str]:
    """Return whether the check passed in the copy, and what it found."""
    call = ["-m", "pytest", "-x", "-q", "-p", "no:nbval", "-p", "no:cacheprovider", "-o", "addopts="]
    if check.startswith("build "):
        call = ["-m", "course_tools.cli"]
    environment = os.environ | {"PYTHONPATH": str(folder), "COURSE_CACHE": str(folder / "data" / "cache")}
    command = [sys.executable, *call, *check.split()]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False, ""
    if done.returncode == 0:
        return True, ""
    said = (re.search(pattern, done.stdout + done.stderr, re.MULTILINE) for pattern in FOUND)
    return False, next((match[1] for match in said if match), "")


@contextmanager
def _copy_of_the_course():
    """Yield a folder with a copy of the course; what a mutant computes stays out of the real cache."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for entry in COPIED:
            if (ROOT / entry).is_dir():
                ignored = shutil.ignore_patterns("cache", "__pycache__")
                shutil.copytree(ROOT / entry, folder / entry, ignore=ignored)
            else:
                shutil.copy(ROOT / entry, folder / entry)
        for kind in cache_dir().absolute().glob("*/"):
            (folder / "data" / "cache" / kind.name).mkdir(parents=True)
            for entry in kind.iterdir():
                # A link: reading costs nothing, and writing replaces the link, not the file behind it.
                if not entry.name.startswith("."):
                    (folder / "data" / "cache" / kind.name / entry.name).symlink_to(entry)
        yield folder
