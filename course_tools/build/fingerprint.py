"""What decides the outputs of a notebook, in one hash: while it stays the same, nothing need be executed again."""

import ast
import functools
import hashlib
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_tools.notebooks import Notebook, tags_of
from course_utils.data.catalog import load_catalog
from course_utils.evaluation.expectations import read_bands
from course_utils.settings import ROOT

PACKAGE = "course_utils"


def fingerprint(
    notebook: Notebook, cells: list[NotebookNode], parameters: dict[str, object], measuring: bool = False
) -> str:
    """Return a hash of all that decides what the cells of a notebook, composed or stored, show.

    That is: its code cells and their tags, its parameters other than those of its tagged cell, the files of
    `course_utils` that it really imports, the bands of its number, the catalog's rows of the assets that these files
    name, the lock, and Python's minor version. Prose, times and `course_tools` have no part in it. While `measuring`,
    figures are recorded and compared with nothing, so the bands do not count.
    """
    code = code_of(cells)
    texts = [file.read_text(encoding="utf-8") for file in imported_files(cells)]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    bands = "" if measuring else _bands_of(notebook)
    digest = hashlib.sha256(
        f"{sys.version_info[:2]} {json.dumps(code)} {json.dumps(parameters, sort_keys=True)}".encode()
    )
    for part in (*texts, bands, _assets_named_in(texts), lock):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def code_of(cells: list[NotebookNode]) -> list[tuple[str, list[str]]]:
    """Return source and tags of the code cells."""
    return [(cell.source, sorted(tags_of(cell))) for cell in code_cells(cells)]


def code_cells(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return the code cells without the one that installs the course, which decides nothing."""
    return [cell for cell in cells if cell.cell_type == "code" and "set-up" not in tags_of(cell)]


def is_stale(notebook: Notebook) -> bool:
    """Return whether the stored notebook was built from another state of the course than this one."""
    if not notebook.path.exists():
        return True
    stored = nbformat.read(notebook.path, as_version=4)
    return stored.metadata.get("fingerprint") != fingerprint(notebook, stored.cells, {})


def imported_files(cells: list[NotebookNode]) -> list[Path]:
    """Return the files of `course_utils` that the code cells import, directly or not."""
    return import_closure("\n".join(_python(source) for source, _ in code_of(cells)))


def import_closure(source: str) -> list[Path]:
    """Return the files of `course_utils` that a piece of code imports, directly or not.

    Names are followed through the packages that only pass them on: who imports `load_mnist` does not depend
    on the other loaders.
    """
    found: set[Path] = {ROOT / PACKAGE / "__init__.py"}
    waiting = _imports(ast.parse(source))
    while waiting:
        file, more = _resolve(*waiting.pop())
        if file is not None and file not in found:
            found.add(file)
            more = more + _imports(_tree(file))
        waiting += more
    return sorted(found)


def _imports(tree: ast.AST) -> list[tuple[str, str]]:
    """Return (module, name) of each import of the package; the name is empty for a module as a whole."""
    wanted = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            wanted += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == PACKAGE]
    return wanted


def _resolve(module: str, name: str) -> tuple[Path | None, list[tuple[str, str]]]:
    """Return the file that defines a name, or where the package that passes it on has it from."""
    base = ROOT.joinpath(*module.split("."))
    if base.with_suffix(".py").exists():
        return base.with_suffix(".py"), []
    if (base / f"{name}.py").exists() or (base / name / "__init__.py").exists():
        return _resolve(f"{module}.{name}", "") if name else (base / "__init__.py", [])
    package = base / "__init__.py"
    if not package.exists():  # the import fails, which is for the notebook to tell
        return None, []
    passed_on = [(origin, original) for origin, original in _imports(_tree(package)) if original == name and name]
    return (None, passed_on) if passed_on else (package, [])


_parsed = functools.cache(ast.parse)  # the same files are imported by many notebooks


def _tree(file: Path) -> ast.Module:
    return _parsed(file.read_text(encoding="utf-8"))


def _python(source: str) -> str:
    """Return a cell's code without the lines that only IPython understands; nothing of code that is none."""
    lines = [re.sub(r"^(\s*)[!%].*", r"\1pass", line) for line in source.splitlines()]
    try:
        ast.parse("\n".join(lines))
    except SyntaxError:  # which is for the notebook to tell
        return ""
    return "\n".join(lines)


def _bands_of(notebook: Notebook) -> str:
    """Return the bands of the notebook's number: a lesson also quotes those of its experiment."""
    own = {key: profiles for key, profiles in read_bands().items() if Path(key).name[:2] == notebook.number}
    if notebook.is_experiment:
        own = {notebook.key: own.get(notebook.key)}
    return repr({key: {p: r["bands"] for p, r in (profiles or {}).items()} for key, profiles in own.items()})


def _assets_named_in(texts: list[str]) -> str:
    """Return the hashes of the assets that strings of these texts name, whole or, as f"lite{number}" does, in part."""
    words = {found for text in texts for found in re.findall(r'"(\w+)(["{])', text)}
    rows = (
        asdict(asset)
        for name, asset in load_catalog().items()
        if any(name == word if end == '"' else name.startswith(word) for word, end in words)
    )
    return "\n".join(f"{row['name']} {row['sha256']} {row['member_sha256']} {row['md5']}" for row in rows)
