"""Notebooks to hand out: no outputs, no solutions, and nothing that only a solution defined."""

import ast

import nbformat
import pytest
from test_notebooks import LESSONS

from course_tools.notebooks import tags_of
from course_tools.publish import handout


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


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_handout_keeps_the_checks_and_hangs_on_no_solution(lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "BUILD", tmp_path)
    cells = nbformat.read(handout.write_handout(lesson), as_version=4).cells
    assert not any("solution" in tags_of(cell) for cell in cells)
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum("# check." in cell.source for cell in code) >= 3
    whole = nbformat.read(lesson.path, as_version=4).cells
    solutions = [cell for cell in whole if cell.cell_type == "code" and "solution" in tags_of(cell)]
    (defined, used), (in_solutions, _) = names_in(code), names_in(solutions)
    assert (in_solutions - defined) & used == set()


def test_a_handout_is_written_anew_in_a_folder_that_is_there_and_without_its_last_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "BUILD", tmp_path / "not" / "there")
    paths = {handout.write_handout(LESSONS[0]) for _ in range(2)}
    assert paths == {tmp_path / "not" / "there" / "handout" / f"{LESSONS[0].key}.ipynb"}
    assert not any("headline" in tags_of(cell) for cell in nbformat.read(paths.pop(), as_version=4).cells)
