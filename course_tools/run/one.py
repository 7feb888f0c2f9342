"""One notebook in a process of its own: ``python -m course_tools.run.one JOB.json``, which `execute` starts.

It tells on its output a line of JSON before each cell (``done``, ``total``, ``cell``, ``at``) and one at its end
(``error``: a message or null, ``died``: whether the kernel was lost, ``refused``: what an `OSError` consists of).
Its input tells nothing: when that is closed, whoever started it is gone, and it ends with all that it has started.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from course_tools.run.family import MARK, end_family
from course_utils.settings import ROOT

LIMIT_CHARACTERS = 4_000_000  # of the outputs of one cell; the largest of the course shows 0.3 million
LATE_OUTPUT_SECONDS = 60  # for what a cell has printed to arrive after its end


class NoKernelError(RuntimeError):
    """The kernel died before it could take a cell, or did not answer."""


class CourseClient(PapermillNotebookClient):
    """papermill's client of a kernel, which tells what it is about to execute, and cuts endless outputs."""

    def __init__(self, *positional, **settings):
        super().__init__(
            *positional, iopub_timeout=LATE_OUTPUT_SECONDS, extra_arguments=["--log-level=ERROR"], **settings
        )
        self.room = {}  # characters left, by cell

    def start_new_kernel_client(self):
        """Wait for the kernel; what nbclient says when none comes is one of many kinds of `RuntimeError`."""
        try:
            return super().start_new_kernel_client()
        except RuntimeError as failure:
            raise NoKernelError(f"The kernel did not start ({failure}); `course doctor` looks at it.") from failure

    def execute_cell(self, cell: NotebookNode, cell_index: int) -> NotebookNode:
        """Tell which cell it is, then execute it."""
        _tell(done=cell_index, total=len(self.nb.cells), cell=cell.source, at=time.time())
        return super().execute_cell(cell, cell_index)

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


class CourseEngine(NBClientEngine):
    """papermill's own engine with this client; what libraries print past the notebook goes to the log."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, start_timeout=60, **unused):
        CourseClient(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout).execute(stdout=sys.stderr)


def main(job_file: str) -> None:
    """Execute what the job names, and tell how it ended."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    papermill_engines.register("course", CourseEngine)
    error, died, refused = None, False, None
    try:
        papermill.execute_notebook(
            **job,
            engine_name="course",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=ROOT / "notebooks",
        )
    except papermill.PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except DeadKernelError:
        error, died = "DeadKernelError: the kernel died in this cell; the system kills it when memory runs out.", True
    except NoKernelError as failure:
        error, died = str(failure), True
    except OSError as failure:  # a disk that is full, say; errors of cells have come as one of papermill's
        error, refused = str(failure), [failure.errno, failure.strerror, failure.filename]
    except Exception as failure:  # a file that is no notebook: whoever started this tells it
        error = f"{type(failure).__name__}: {failure}"
    _tell(error=error, died=died, refused=refused)


def _tell(**message) -> None:
    print(json.dumps(message), flush=True)


def _size(content: dict) -> int:
    return len(content.get("text", "")) + sum(len(str(data)) for data in content.get("data", {}).values())


def _end_with_the_parent() -> None:
    os.read(0, 1)
    end_family(os.environ[MARK])
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
