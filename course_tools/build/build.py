"""The stored notebooks: executed when what decides their outputs has changed, else only filled anew."""

import nbformat
from nbformat import NotebookNode

from course_tools.build.compose import compose
from course_tools.build.figures import shrink_figures
from course_tools.build.fingerprint import fingerprint
from course_tools.measure.records import update_seconds
from course_tools.notebooks import Notebook
from course_tools.run.execute import execute
from course_utils.errors import CourseError
from course_utils.whole_file import replacing


def build(notebook: Notebook, on_cell=None, force: bool = False) -> float | None:
    """Store the notebook as its source makes it, and return the seconds its execution took.

    Where nothing that decides its outputs has changed, the stored outputs stay, only the text is filled anew, and
    None is returned. A time measured goes into the file of seconds, and with it to the notebook's first cell.
    """
    composed = compose(notebook)
    now = fingerprint(notebook, composed.cells, {})
    stored = nbformat.read(notebook.path, as_version=4) if notebook.path.exists() else None
    if not force and stored is not None and stored.metadata.get("fingerprint") == now:
        _store(notebook, _with_outputs(composed, stored.cells), now)
        return None
    draft = notebook.path.with_suffix(".draft.ipynb")
    try:
        nbformat.write(composed, draft)
        result = execute(draft, draft, {}, on_cell)
        if result["status"] != "passed":
            error = result["error"]
            raise CourseError(f"{notebook.key} failed in the cell\n{error['cell']}\n{error['message']}")
        update_seconds(notebook.key, "default", result["seconds"])
        executed = nbformat.read(draft, as_version=4)
    finally:
        draft.unlink(missing_ok=True)
    _store(notebook, _with_outputs(compose(notebook), executed.cells), now)
    return result["seconds"]


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


def _with_outputs(composed: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    """Give the code cells their outputs, and nothing of the times and paths that a run leaves in the metadata."""
    outputs = [cell for cell in cells if cell.cell_type == "code" and "set-up" not in cell.metadata.get("tags", [])]
    targets = [
        cell for cell in composed.cells if cell.cell_type == "code" and "set-up" not in cell.metadata.get("tags", [])
    ]
    for cell, run in zip(targets, outputs, strict=True):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
        shrink_figures(cell.outputs)
    return composed


def _store(notebook: Notebook, composed: NotebookNode, now: str) -> None:
    composed.metadata["fingerprint"] = now
    with replacing(notebook.path) as partial:
        nbformat.write(composed, partial)
