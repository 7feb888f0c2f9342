"""One notebook, executed headlessly by papermill in a kernel of its own."""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import papermill
from papermill.engines import NBClientEngine, papermill_engines

from course_tools.run.bounds import BoundedClient, StoppedError
from course_tools.run.memory import memory_of_new_children
from course_tools.settings import LIMIT_MINUTES
from course_utils.quiet import stderr_to
from course_utils.settings import ROOT

ERROR_LINES, ERROR_CHARACTERS = 12, 1_000  # lines told, and characters of each


class ProgressEngine(NBClientEngine):
    """papermill's own engine, which keeps within bounds and tells how many cells are done."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, limit, on_cell, start_timeout, **unused):
        complete, total = nb_man.cell_complete, len(nb_man.nb.cells)

        def complete_and_tell(cell, cell_index=None, **more):
            complete(cell, cell_index=cell_index, **more)
            on_cell(cell_index + 1, total)

        if on_cell is not None:
            nb_man.cell_complete = complete_and_tell
        nb_man.save = lambda: None  # the output is kept whole or not at all, so writing it once, at the end, will do
        try:
            BoundedClient(nb_man, limit, kernel_name=kernel_name, startup_timeout=start_timeout).execute()
        finally:
            del nb_man.save


papermill_engines.register("course", ProgressEngine)


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, object],
    on_cell: Callable[[int, int], None] | None = None,
    environment: dict[str, str] | None = None,
    limit: float = LIMIT_MINUTES,
) -> dict:
    """Execute ``notebook`` and write it with its outputs to ``output``, also when a cell fails.

    Parameters
    ----------
    notebook, output
        Files; they may be the same.
    parameters
        Checked values for the cell tagged ``parameters``.
    on_cell
        Called with (cells done, cells in all) after each cell.
    environment
        Variables for the kernel, beside those of this process.
    limit
        Minutes after which the kernel is ended, whatever it does.

    Returns
    -------
    dict
        ``status`` ("passed" or "failed"), ``seconds``, ``gigabytes`` (largest resident memory of the kernel and
        what it starts), ``records`` (one per ``expect``) and ``error`` (``cell``, ``message``) when it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        variables = {**(environment or {}), "COURSE_RECORDS": str(records)}
        log = Path(folder) / "kernel.log"
        started, error = time.perf_counter(), None
        try:
            with memory_of_new_children() as memory, _inherited_by_the_kernel(variables, log):
                papermill.execute_notebook(
                    str(notebook),
                    str(output),
                    parameters=parameters,
                    engine_name="course",
                    on_cell=on_cell,
                    limit=limit,
                    progress_bar=False,
                    cwd=str(ROOT / "notebooks"),
                )
        except papermill.PapermillExecutionError as failure:
            error = _told_briefly(failure.source, f"{failure.ename}: {failure.evalue}")
        except StoppedError as failure:
            last_words = log.read_text(encoding="utf-8", errors="replace").splitlines()[1 - ERROR_LINES :]
            error = _told_briefly(failure.cell, "\n".join([failure.message, *(last_words if failure.died else [])]))
        lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
    return {
        "status": "failed" if error else "passed",
        "seconds": round(time.perf_counter() - started, 1),
        "gigabytes": round(memory.gigabytes, 2),
        "records": [json.loads(line) for line in lines],
        "error": error,
    }


@contextmanager
def _inherited_by_the_kernel(variables: dict[str, str], log: Path):
    """Set environment variables, and send what libraries log to the terminal to a file instead."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with stderr_to(log):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _told_briefly(source: str, message: str) -> dict[str, str]:
    lines = source.strip().splitlines()
    if len(lines) > ERROR_LINES:
        lines = lines[:ERROR_LINES] + ["…"]
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    return {
        "cell": "\n".join(lines),
        "message": "\n".join(line[:ERROR_CHARACTERS] for line in message.splitlines()[:ERROR_LINES]),
    }
