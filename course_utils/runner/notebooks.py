"""The notebooks of the course: their names, numbers and files."""

import ast
from dataclasses import dataclass
from pathlib import Path

import papermill

from course_utils.settings import ROOT, CourseError

PROFILES = ("smoke", "lesson", "full")


@dataclass(frozen=True, order=True)
class Notebook:
    """One notebook of the course, such as ``02_feature_extraction``."""

    name: str

    @property
    def number(self) -> str:
        """The two digits that the name starts with."""
        return self.name[:2]

    @property
    def source(self) -> Path:
        """The py:percent script, the only edited form."""
        return ROOT / "notebooks" / "source" / f"{self.name}.py"

    @property
    def path(self) -> Path:
        """The notebook with its outputs, built from the source."""
        return ROOT / "notebooks" / f"{self.name}.ipynb"


def all_notebooks() -> list[Notebook]:
    """Return the course's notebooks in order, as their sources name them."""
    sources = (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")
    return sorted(Notebook(path.stem) for path in sources)


def select_notebooks(numbers: list[str] | None) -> list[Notebook]:
    """Return the notebooks with these numbers (``"2"``, ``"02"`` or a whole name); all when none are named."""
    notebooks = all_notebooks()
    if not numbers:
        return notebooks
    known = {notebook.number: notebook for notebook in notebooks}
    for wanted in numbers:
        if wanted.split("_")[0].zfill(2) not in known:
            raise CourseError(f"There is no notebook {wanted!r}; the course has {', '.join(known)}.")
    return sorted({known[wanted.split("_")[0].zfill(2)] for wanted in numbers})


def check_parameters(path: Path, given: dict[str, str]) -> dict[str, object]:
    """Turn parameters typed on a command line into values that the notebook at ``path`` accepts.

    Parameters
    ----------
    path
        The notebook; its cell tagged ``parameters`` holds names and defaults.
    given
        Names and values as typed, such as ``{"SEED": "3"}``.

    Returns
    -------
    dict
        Python values of the defaults' types, for those names whose value differs from the default.

    Raises
    ------
    CourseError
        For an unknown name, a value of another type, or an unknown profile.
    """
    defaults = default_parameters(path)
    values = {name: parse_parameter(path, defaults, name, text) for name, text in given.items()}
    return {name: value for name, value in values.items() if value != defaults[name]}


def default_parameters(path: Path) -> dict[str, object]:
    """Return names and defaults of the cell tagged ``parameters`` of the notebook at ``path``."""
    return {name: _literal(entry["default"]) for name, entry in papermill.inspect_notebook(str(path)).items()}


def parse_parameter(path: Path, defaults: dict[str, object], name: str, text: str) -> object:
    """Turn one typed value into one of the default's type; see `check_parameters`."""
    if name not in defaults:
        raise CourseError(f"{path.stem} has no parameter {name!r}; it takes {', '.join(sorted(defaults))}.")
    wanted = type(defaults[name])
    value = text if wanted is str else _literal(text)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise CourseError(f"{name} takes a value of type {wanted.__name__}, such as {defaults[name]!r}; got {text!r}.")
    if name == "PROFILE" and value not in PROFILES:
        raise CourseError(f"PROFILE {value!r} is unknown; choose one of {', '.join(PROFILES)}.")
    return value


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
