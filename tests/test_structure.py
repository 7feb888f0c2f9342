"""The house: imports run one way, and who installs the course for its notebooks gets no workshop with it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from course_tools.build.fingerprint import import_closure
from course_utils.settings import ROOT

# Each room of course_utils may import what its row names, and itself.
ALLOWED = {
    "errors": set(),
    "settings": set(),
    "quiet": set(),
    "whole_file": {"errors"},
    "cache": {"errors", "settings", "whole_file"},
    "data": {"errors", "settings", "whole_file"},
    "models": {"errors", "settings", "cache", "data", "whole_file"},
    "zoo": {"errors", "settings", "data", "models"},
    "text": {"errors", "settings", "cache", "data", "whole_file"},
    "adaptation": {"errors", "data"},
    "evaluation": {"errors", "settings", "whole_file"},
    "exercises": {"errors", "data", "evaluation", "models", "text", "zoo"},
    "notebook": {"errors", "quiet", "evaluation"},
}
UPSTAIRS = ("dask", "distributed", "typer", "nbconvert", "jupytext", "papermill")
MODULES = sorted((ROOT / "course_utils").rglob("*.py"))
SOURCES = sorted((ROOT / "notebooks" / "source").rglob("*.py"))


def imports_of(path):
    """Return the whole names of the modules that a file imports; of a name taken out of a module, both together."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {path}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def rooms_in(path, package):
    parts = [name.split(".") for name in imports_of(path)]
    return {names[1] for names in parts if names[0] == package and len(names) > 1}


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT / "course_utils").parts[0].removesuffix(".py")
    if room != "__init__":
        assert rooms_in(path, "course_utils") <= ALLOWED[room] | {room}
    assert not any(name.startswith("course_tools") for name in imports_of(path))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_notebooks_import_nothing_of_the_workshop(path):
    assert not any(name.startswith("course_tools") for name in imports_of(path))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_notebook_hangs_on_the_workshop(path):
    files = import_closure(re.sub(r"^[!%].*", "pass", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert files and all(file.is_relative_to(ROOT / "course_utils") for file in files)


def test_what_the_notebooks_need_names_no_workshop():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert installed_with(project["dependencies"]).isdisjoint(UPSTAIRS)
    tools = {Requirement(line).name for line in project["optional-dependencies"]["tools"]}
    assert {"distributed", "typer", "jupytext", "nbconvert", "papermill"} <= tools


def installed_with(requirements):
    """Return the names of these requirements and of all that they bring, as installed here."""
    found, waiting = set(), [(line, "") for line in requirements]
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        asked = {(name, extra) for extra in ("", *requirement.extras)} - found
        found |= asked
        for name, extra in asked:
            waiting += [(line, extra) for line in importlib.metadata.requires(name) or []]
    return {name for name, _ in found}


def test_the_walk_finds_what_a_package_brings():
    assert {"keras", "numpy", "h5py"} <= installed_with(["tensorflow"])
    assert "nbclient" in installed_with(["papermill"])


def test_no_module_of_the_notebooks_imports_the_workshop():
    code = (
        "import importlib, sys\n"
        f"for name in {[module_of(path) for path in MODULES]}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & {set(UPSTAIRS) | {'course_tools'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-500:]
