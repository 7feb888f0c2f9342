"""Repeat the cell of a notebook that measures times: what is timed is then what the notebook shows."""

import json
import os

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from course_tools.notebooks import Notebook
from course_tools.parameters import profile_parameters
from course_utils.errors import CourseError
from course_utils.quiet import stderr_to
from course_utils.settings import ROOT

TIMEOUT = 900  # seconds for one cell


def repeat_cell(
    experiment: str, marker: str, figures: dict[str, str], profile: str, rounds: int
) -> dict[str, list[float]]:
    """Execute an experiment up to a cell, then that cell again and again.

    Parameters
    ----------
    experiment : str
        Name, such as ``"02_feature_extraction"``.
    marker : str
        A text that only this cell contains. Its first execution warms up.
    figures : dict of str to str
        Python expressions, evaluated after each execution of the cell.
    profile : str
        One of `course_tools.parameters.PROFILES`.
    rounds : int
        Executions of the cell that count.

    Returns
    -------
    dict of str to list of float
        For each figure its values in the order of the rounds.

    Raises
    ------
    CourseError
        If the notebook does not have the cell exactly once, or a cell fails.
    """
    notebook = Notebook(experiment, is_experiment=True)
    stored = load_notebook_node(str(notebook.path))
    book = parameterize_notebook(stored, {"PROFILE": profile} | profile_parameters(notebook, profile))
    places = [i for i, cell in enumerate(book.cells) if cell.cell_type == "code" and marker in cell.source]
    if len(places) != 1:
        raise CourseError(
            f"{experiment} has {len(places)} cells with {marker!r}; one is needed, the one that measures."
        )
    book.cells = book.cells[: places[0] + 1]
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps([{', '.join(figures.values())}]))"))
    measuring, telling = len(book.cells) - 2, len(book.cells) - 1
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(book, timeout=TIMEOUT, kernel_name="python3", resources=resources)
    values = []
    try:
        # Bands are for a quiet machine; here the figures themselves are wanted. What libraries log is not.
        with stderr_to(), client.setup_kernel(env=os.environ | {"COURSE_MEASURE": "1"}):
            for i in range(telling):
                client.execute_cell(book.cells[i], i)
            for _ in range(rounds):
                client.execute_cell(book.cells[measuring], measuring)
                client.execute_cell(book.cells[telling], telling)
                values.append(json.loads(book.cells[telling].outputs[0].text))
    except (CellExecutionError, DeadKernelError, TimeoutError) as error:
        raise CourseError(f"{experiment} failed before its times were measured: {str(error).strip()[-500:]}") from None
    return dict(zip(figures, map(list, zip(*values, strict=False)), strict=True))
