"""Lessons to hand out: outputs and solutions are gone, the exercises and their checks stay."""

from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

from course_tools.notebooks import Notebook
from course_tools.run.job import BUILD
from course_utils.whole_file import replacing

REMOVED = {"solution", "headline"}  # the last cell compares also what a solution measures


def write_handout(notebook: Notebook) -> Path:
    """Write a stored notebook without its outputs and solutions into ``build/handout/``, and return its path."""
    handout = nbformat.read(notebook.path, as_version=4)
    for step in (TagRemovePreprocessor(remove_cell_tags=REMOVED), ClearOutputPreprocessor()):
        handout, _ = step.preprocess(handout, {})
    path = BUILD / "handout" / f"{notebook.key}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        nbformat.write(handout, partial)
    return path
