"""The stored notebooks: executed when what decides their outputs has changed, else only filled anew."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_tools.build.compose import compose
from course_tools.build.figures import shrink_figures
from course_tools.build.fingerprint import code_cells, fingerprint
from course_tools.measure.records import update_seconds
from course_tools.notebooks import Notebook
from course_tools.run.alone import alone_in
from course_tools.run.execute import execute
from course_tools.run.job import BUILD
from course_utils.errors import CourseError
from course_utils.whole_file import replacing


def build(notebook: Notebook, on_cell=None, force: bool = False) -> float | None:
    """Store the notebook as its source makes it, and return the seconds its execution took.

    Where nothing that decides its outputs has changed, the stored outputs stay, only the text is filled anew, and
    None is returned. A time measured goes into the file of seconds, and with it to the notebook's first cell.

    Raises a CourseError when a cell fails, or while another build of this notebook is at work.
    """
    folder = BUILD / "draft" / notebook.key
    with alone_in(folder, f"Another build of {notebook.key} is at work"):
        composed = compose(notebook)
        now = fingerprint(notebook, composed.cells, {})
        stored = nbformat.read(notebook.path, as_version=4) if notebook.path.exists() else None
        if not force and stored is not None and stored.metadata.get("fingerprint") == now:
            _store(notebook, _with_outputs(composed, stored.cells), now)
            return None
        seconds, cells = _executed(composed, folder / "draft.ipynb", notebook, on_cell)
        update_seconds(notebook.key, "default", seconds)
        _store(notebook, _with_outputs(compose(notebook), cells), now)
        return seconds


def differences(notebook: Notebook) -> list[str]:
    """Return what differs between the stored notebook and its source, in code, prose or tags; nothing is good."""
    if not notebook.path.exists():
        return [f"{notebook.key} is not built"]
    stored = nbformat.read(notebook.path, as_version=4).cells
    wanted = compose(notebook).cells
    if len(stored) != len(wanted):
        return [f"{notebook.key} has {len(stored)} cells, its source makes {len(wanted)}"]
    return [
        f"{notebook.key}, cell {position}: the source now begins {after.source[:60]!r}"
        for position, (before, after) in enumerate(zip(stored, wanted, strict=True))
        if (before.cell_type, before.source, before.metadata) != (after.cell_type, after.source, after.metadata)
    ]


def _executed(composed: NotebookNode, draft: Path, notebook: Notebook, on_cell) -> tuple[float, list[NotebookNode]]:
    """Execute the cells in a file of their own; return the seconds and the cells with their outputs, figures shrunk."""
    nbformat.write(composed, draft)
    result = execute(draft, draft, {}, on_cell)
    if result["status"] != "passed":
        error = result["error"]
        raise CourseError(f"{notebook.key} failed in the cell\n{error['cell']}\n{error['message']}")
    cells = nbformat.read(draft, as_version=4).cells
    for cell in code_cells(cells):
        shrink_figures(cell.outputs)
    return result["seconds"], cells


def _with_outputs(composed: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    """Give the code cells their outputs, and nothing of the times and paths that a run leaves in the metadata."""
    for cell, run in zip(code_cells(composed.cells), code_cells(cells), strict=True):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
    return composed


def _store(notebook: Notebook, composed: NotebookNode, now: str) -> None:
    composed.metadata["fingerprint"] = now
    with replacing(notebook.path) as partial:
        nbformat.write(composed, partial)
