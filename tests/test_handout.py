"""Notebooks to hand out: no outputs, no solutions, and nothing that only a solution defined."""

import ast

import nbformat
import pytest

from course_tools.notebooks import all_notebooks
from course_tools.publish.handout import write_handout


def names_in(cells):
    """Return the names that code cells define and those that they use."""
    lines = [line for cell in cells for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    defined, used = set(), set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
    return defined, used


LESSONS = [notebook for notebook in all_notebooks("lessons") if not notebook.is_project]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_handout_keeps_the_checks_and_hangs_on_no_solution(lesson, tmp_path):
    handout = nbformat.read(write_handout(lesson, tmp_path), as_version=4)
    assert not any("solution" in cell.metadata.get("tags", []) for cell in handout.cells)
    code = [cell for cell in handout.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum("# check." in cell.source for cell in code) >= 3
    whole = nbformat.read(lesson.path, as_version=4).cells
    solutions = [cell for cell in whole if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", [])]
    (defined, used), (in_solutions, _) = names_in(code), names_in(solutions)
    assert (in_solutions - defined) & used == set()
