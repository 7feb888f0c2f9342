"""What one notebook may take: time until its kernel is ended, and room for what its cells show."""

import threading
import time
from contextlib import suppress

import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient

LIMIT_CHARACTERS = 4_000_000  # of the outputs of one cell; the largest of the course shows 0.3 million
LATE_OUTPUT_SECONDS = 60  # for what a cell has printed to arrive after its end


class StoppedError(Exception):
    """A notebook ended otherwise than by its own code: in which cell, why, and whether its kernel died by itself."""

    def __init__(self, cell: str, message: str, died: bool):
        super().__init__(message)
        self.cell, self.message, self.died = cell, message, died


class BoundedClient(PapermillNotebookClient):
    """papermill's client of a kernel, which stops a notebook after ``limit`` minutes and cuts endless outputs."""

    def __init__(self, nb_man, limit: float, **settings):
        super().__init__(nb_man, iopub_timeout=LATE_OUTPUT_SECONDS, **settings)
        self.limit, self.time_is_up = limit, False
        self.room = {}  # characters left, by cell

    def papermill_execute_cells(self) -> None:
        """Execute all cells; the time runs from here on, when the kernel has started."""
        kernel = psutil.Process(self.km.provisioner.pid)
        timer = threading.Timer(60 * self.limit, self._end, [kernel])
        timer.start()
        try:
            super().papermill_execute_cells()
        finally:
            timer.cancel()

    def execute_cell(self, cell: NotebookNode, cell_index: int) -> NotebookNode:
        """Execute a cell; raise `StoppedError` when the time is up or the kernel is dead."""
        begun = time.monotonic()
        try:
            return super().execute_cell(cell, cell_index)
        except (DeadKernelError, CellTimeoutError) as failure:
            died = isinstance(failure, DeadKernelError) and not self.time_is_up
            message = str(failure)
            if self.time_is_up:
                message = (
                    f"The notebook was stopped after {self.limit:g} minutes, {(time.monotonic() - begun) / 60:.1f} of them in "
                    "this cell: `course run` allows more with --limit MINUTES, and asks for less with --profile smoke."
                )
            elif died:
                message = "DeadKernelError: the kernel died in this cell; the system kills it when memory runs out."
            raise StoppedError(cell.source, message, died) from failure

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int) -> NotebookNode | None:
        """Keep what a cell shows while there is room for it, then say that the rest was cut."""
        room, size = self.room.get(cell_index, LIMIT_CHARACTERS), _size(msg["content"])
        self.room[cell_index] = room - size
        if size <= room or msg["msg_type"] == "error":
            return super().output(outs, msg, display_id, cell_index)
        if room >= 0:  # the first that does not fit
            begin = msg["content"].get("text", "")[:room]
            told = f"{begin}\n… The output of this cell was cut after {LIMIT_CHARACTERS:,} characters.\n"
            outs.append(new_output("stream", name="stdout", text=told))
        return None

    def _end(self, kernel: psutil.Process) -> None:
        """Kill the kernel and all that it has started: a kernel that is busy may not heed anything milder."""
        self.time_is_up = True
        with suppress(psutil.NoSuchProcess):
            for process in [*kernel.children(recursive=True), kernel]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _size(content: dict) -> int:
    return len(content.get("text", "")) + sum(len(str(data)) for data in content.get("data", {}).values())
