"""The house: imports run one way, and no notebook reaches into the upper floors."""

import ast
import re

import pytest

from course_utils.settings import ROOT

# Each part may import what its row names, and itself.
ALLOWED = {
    "settings": set(),
    "quiet": set(),
    "whole_file": set(),
    "cache": {"settings"},
    "data": {"settings"},
    "models": {"settings", "cache", "data"},
    "text": {"settings", "cache", "data"},
    "adaptation": {"settings", "data"},
    "evaluation": {"settings"},
    "tuning": {"settings"},
    "bench": {"settings", "quiet", "whole_file", "data", "models", "text"},
    "runner": {"settings", "quiet", "whole_file", "data", "models", "evaluation", "bench"},
}
MODULES = sorted(path for path in (ROOT / "course_utils").rglob("*.py") if path.name != "__init__.py")
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))


def imported_parts(path):
    """Return the parts of course_utils that a file imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("course_utils.")}
    return parts


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_run_one_way(path):
    part = path.relative_to(ROOT / "course_utils").parts[0].removesuffix(".py")
    assert imported_parts(path) <= ALLOWED[part] | {part}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_notebook_imports_the_upper_floors(path):
    assert not re.search(r"(from|import) course_utils\.(runner|bench)", path.read_text(encoding="utf-8"))
