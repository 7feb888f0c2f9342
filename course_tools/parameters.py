"""Parameters of a notebook: the plain variables of its tagged cell, the files of profiles, what is typed."""

import ast
from pathlib import Path

import papermill
import yaml

from course_tools.notebooks import Notebook
from course_utils.errors import CourseError

PROFILES = ("smoke", "default", "full")


def profile_parameters(notebook: Notebook, profile: str) -> dict[str, object]:
    """Return what the parameter file of a profile sets; ``default`` is what is stored, and sets nothing.

    Raises
    ------
    CourseError
        For an unknown profile, a file that is no mapping, or a name or type that the notebook does not have.
    """
    if profile not in PROFILES:
        raise CourseError(f"PROFILE {profile!r} is unknown; choose one of {', '.join(PROFILES)}.")
    file = notebook.parameter_file(profile)
    if profile == "default" or not file.exists():
        return {}
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise CourseError(f"{file.name} holds {values!r}; accepted are lines such as SEED: 3.")
    defaults = default_parameters(notebook.path)
    return {name: checked(notebook.path, defaults, name, value) for name, value in values.items()}


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
        For an unknown name or a value of another type.
    """
    defaults = default_parameters(path)
    values = {name: parse_parameter(path, defaults, name, text) for name, text in given.items()}
    return {name: value for name, value in values.items() if value != defaults[name]}


def default_parameters(path: Path) -> dict[str, object]:
    """Return names and defaults of the cell tagged ``parameters`` of the notebook at ``path``."""
    return {name: _literal(entry["default"]) for name, entry in papermill.inspect_notebook(str(path)).items()}


def parse_parameter(path: Path, defaults: dict[str, object], name: str, text: str) -> object:
    """Turn one typed value into one of the default's type; see `check_parameters`."""
    if name == "PROFILE":
        raise CourseError("PROFILE is not typed with -p: choose it with --profile.")
    return checked(path, defaults, name, text if type(defaults.get(name)) is str else _literal(text))


def checked(path: Path, defaults: dict[str, object], name: str, value: object) -> object:
    """Return the value as one of the default's type; refuse another type, an unknown name, an impossible seed."""
    if name not in defaults:
        raise CourseError(f"{path.stem} has no parameter {name!r}; it takes {', '.join(sorted(defaults))}.")
    wanted = type(defaults[name])
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is tuple and type(value) is list:
        value = tuple(value)
    if type(value) is not wanted:
        raise CourseError(f"{name} takes a value of type {wanted.__name__}, such as {defaults[name]!r}; got {value!r}.")
    if name == "SEED" and not 0 <= value < 2**32:
        raise CourseError(f"SEED takes a whole number from 0 to 4294967295; got {value}.")
    return value


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
