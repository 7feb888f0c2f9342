"""The processes of one run: its runner, its kernel, and all that these start, in whatever session or group."""

import os
from contextlib import suppress

import psutil

MARK = "COURSE_RECORDS"  # every process of a run inherits this variable, and each run has a file of its own
GIGABYTE = 1e9


def end_family(records: str) -> None:
    """Kill the processes whose variable `MARK` names this file, orphans too; this process itself is spared."""
    for _ in range(3):  # while the first are killed, the others may start more
        family = [process for process in psutil.process_iter() if _mark_of(process) == records]
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        if not family:
            return
        psutil.wait_procs(family, timeout=1)


def resident_gigabytes(runner: psutil.Process) -> float:
    """Return the resident memory of what the runner has started, in gigabytes (10**9 bytes): the kernel and its own."""
    total = 0
    with suppress(psutil.Error):  # whatever has just ended takes nothing
        for process in runner.children(recursive=True):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total / GIGABYTE


def _mark_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error, OSError):  # a process of others, or one that has just ended
        return process.environ().get(MARK) if process.pid != os.getpid() else None
    return None
