"""The stages of `course test`: what each runs, how long it takes, what it found."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from course_tools.build.fingerprint import is_stale
from course_tools.notebooks import all_notebooks
from course_utils.settings import ROOT

PYTEST = ["pytest", "-q", f"--color={'yes' if sys.stdout.isatty() else 'no'}"]
# Two processes at a time. A file stays on one of them: its models are loaded once, a notebook has one kernel.
TWO = ["-n", "2", "--dist", "loadfile"]
NBVAL = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600", "--nbval-sanitize-with=tests/nbval.cfg"]
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a stage ended, and how many of its tests ended how, where it has tests."""

    stage: str
    seconds: float
    passed: bool
    counts: Counter


def stages(everything: bool = False) -> dict[str, list[str]]:
    """Return the modules of Python that `course test` runs, with their arguments, by the name of the stage.

    Notebooks are all lessons, and those experiments that were built from another state of the course than this one;
    `everything` takes all experiments, the slow unit tests and the faults.
    """
    experiments = [notebook for notebook in all_notebooks("experiments") if everything or is_stale(notebook)]
    files = [str(notebook.path) for notebook in all_notebooks("lessons") + experiments if notebook.path.exists()]
    found = {
        "lint": ["ruff", "check", "."],
        "format": ["ruff", "format", "--check", "."],
        "unit tests": [*PYTEST, *TWO, "-p", "no:nbval", *(["-m", ""] if everything else []), "tests"],
    }
    if files:
        found[f"{len(files)} notebooks"] = [*PYTEST, *TWO, *NBVAL, *files]
    if everything:
        found["faults"] = [*PYTEST, "-p", "no:nbval", "tests/faults"]
    return found


def run_stages(everything: bool = False) -> bool:
    """Run all stages, also after one that failed, and print what each took and found; return whether all passed."""
    interrupted: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))  # left to the stage to heed
    outcomes = []
    try:
        for name, module in stages(everything).items():
            print(f"── {name}", flush=True)
            # Two processes on two cores want one thread each; but a notebook trained on one ends with other last digits
            # than the stored one, which was built on two.
            outcomes.append(_run(name, module, threads=2 if "notebooks" in name else 1))
            if interrupted:
                break
    finally:
        signal.signal(signal.SIGINT, usual)
    _print(outcomes)
    return not interrupted and all(outcome.passed for outcome in outcomes)


def _run(name: str, module: list[str], threads: int) -> Outcome:
    """Run one stage; show what it says while it says it, and count by its last line."""
    begun, said = time.perf_counter(), b""
    command, environment = [sys.executable, "-m", *module], os.environ | dict.fromkeys(THREADS, str(threads))
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        while part := os.read(process.stdout.fileno(), 1 << 16):
            sys.stdout.buffer.write(part)
            sys.stdout.flush()
            said = (said + part)[-2000:]
    last = re.sub(r"\x1b\[\d*(;\d+)*m", "", said.decode(errors="replace")).strip().rpartition("\n")[2]
    counts = Counter({word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)(?=,| in )", last)})
    return Outcome(name, time.perf_counter() - begun, process.returncode == 0, counts)


def _print(outcomes: list[Outcome]) -> None:
    table = Table("Stage", "Seconds", "Result", "")
    table.columns[1].justify = "right"
    for outcome in outcomes:
        result = "[green]passed[/]" if outcome.passed else "[bold red]failed[/]"
        table.add_row(outcome.stage, f"{outcome.seconds:.0f}", result, _told(outcome.counts))
    Console().print(table)
    failed = ", ".join(outcome.stage for outcome in outcomes if not outcome.passed)
    seconds = sum(outcome.seconds for outcome in outcomes)
    counts = _told(sum((outcome.counts for outcome in outcomes), Counter()))
    print(f"{counts} in {seconds:.0f} s; {f'failed: {failed}' if failed else 'all stages passed'}")


def _told(counts: Counter) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())
