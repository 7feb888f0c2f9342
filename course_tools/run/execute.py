"""One notebook, executed headlessly in processes of its own, which end with it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from course_tools.run.family import MARK, end_family, resident_gigabytes
from course_tools.settings import LIMIT_MINUTES
from course_utils.settings import ROOT

SAMPLING_SECONDS = 0.5
STARTING_SECONDS = 120  # for a kernel to be there, before the limit begins to count
ERROR_LINES, ERROR_CHARACTERS = 12, 1_000  # lines told, and characters of each


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, object],
    on_cell: Callable[[int, int], None] | None = None,
    environment: dict[str, str] | None = None,
    limit: float = LIMIT_MINUTES,
) -> dict:
    """Execute ``notebook`` and write it with its outputs to ``output``, also when a cell fails; both may be one file.

    `parameters` are checked values for the cell tagged ``parameters``, `environment` variables for the kernel beside
    those of this process. `on_cell` is called twice a second with (cells done, cells in all); when it raises, the run
    is given up. After `limit` minutes all processes of the run are killed.

    Returns
    -------
    dict
        ``status`` ("passed" or "failed"), ``seconds``, ``gigabytes`` (largest resident memory of the kernel and
        what it starts), ``records`` (one per ``expect``) and ``error`` (``cell``, ``message``) when it failed.

    Raises
    ------
    OSError
        When a file could not be read or written, on a full disk, say.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records, told, log = folder / "records.jsonl", folder / "told.jsonl", folder / "log"
        job = {"input_path": str(notebook), "output_path": str(output), "parameters": parameters}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        # What runner and kernel leave in the folder of temporary files goes with this run, when killed too.
        variables = os.environ | (environment or {}) | {MARK: str(records), "TMPDIR": name}
        runner = _started(folder / "job.json", variables, told, log)
        try:
            gigabytes, in_time = _watch(runner, told, limit, on_cell)
        finally:
            end_family(str(records))
            runner.stdin.close()
            runner.wait()
        error = _error(_lines(told), log, limit if not in_time else None)
        return {
            "status": "failed" if error else "passed",
            "seconds": round(time.perf_counter() - started, 1),
            "gigabytes": round(gigabytes, 2),
            "records": _lines(records),
            "error": error,
        }


def _started(job: Path, variables: dict[str, str], told: Path, log: Path) -> subprocess.Popen:
    with told.open("wb") as stdout, log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "course_tools.run.one", str(job)],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,  # never written to; it is closed when this process ends, however it ends
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def _watch(runner: subprocess.Popen, told: Path, limit: float, on_cell) -> tuple[float, bool]:
    """Wait for the runner or the limit; return the largest memory in gigabytes, and whether it ended in time."""
    process, peak, begun = psutil.Process(runner.pid), 0.0, time.time() + STARTING_SECONDS
    while time.time() < begun + 60 * limit:
        with suppress(subprocess.TimeoutExpired):
            runner.wait(SAMPLING_SECONDS)
            return peak, True
        peak = max(peak, resident_gigabytes(process))
        cells = [line for line in _lines(told) if "done" in line]
        if cells:
            begun = cells[0]["at"]
        if on_cell is not None:
            on_cell(*((cells[-1]["done"], cells[-1]["total"]) if cells else (0, 1)))
    return peak, False


def _error(told: list[dict], log: Path, passed_limit: float | None) -> dict[str, str] | None:
    """Return cell and message of what went wrong, None if nothing did; raise the `OSError` that no cell made."""
    end = told.pop() if told and "error" in told[-1] else {}
    begun = told[-1] if told else {"cell": "", "at": time.time()}
    last_words = log.read_text(encoding="utf-8", errors="replace").splitlines()[1 - ERROR_LINES :]
    if end.get("refused"):
        raise OSError(*end["refused"])
    if end:
        message = [end["error"], *(last_words if end["died"] else [])]
    elif passed_limit is not None:
        message = [
            f"The notebook was stopped after {passed_limit:g} minutes, {(time.time() - begun['at']) / 60:.1f} of them "
            "in this cell: `course run` allows more with --limit MINUTES, and asks for less with --profile smoke."
        ]
    else:
        message = ["The process that runs the notebook was killed.", *last_words]
    return None if message == [None] else _told_briefly(begun["cell"], "\n".join(message))


def _lines(file: Path) -> list[dict]:
    """Return what the finished lines of a file of JSON say."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _told_briefly(source: str, message: str) -> dict[str, str]:
    lines = source.strip().splitlines()
    if len(lines) > ERROR_LINES:
        lines = lines[:ERROR_LINES] + ["…"]
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    return {
        "cell": "\n".join(lines),
        "message": "\n".join(line[:ERROR_CHARACTERS] for line in message.splitlines()[:ERROR_LINES]),
    }
