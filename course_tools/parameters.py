"""Parameters of a notebook: the plain variables of its tagged cell, the files of profiles, what is typed."""

import ast
import json
from pathlib import Path

import yaml

from course_tools.notebooks import Notebook, tags_of
from course_utils.errors import CourseError

PROFILES = ("smoke", "default", "full")
PATHS = ("DATA", "FOLDER", "OUT")  # typed, they begin where the command was called, not in the kernel's folder


class DamagedNotebook(CourseError):
    """A notebook's file is missing or cannot be read."""


def run_parameters(notebook: Notebook, profile: str, typed: dict[str, str]) -> dict[str, object]:
    """Return what a run of the stored notebook sets: the values of a profile's file, and over them what is typed.

    The cell tagged ``parameters`` holds names and defaults; `typed` are names and values as on a command line, such as
    ``{"SEED": "3"}``. Returned are Python values of the defaults' types, for those names whose value differs from the
    default. Raises a CourseError as `profile_parameters`, `default_parameters` and `parse_parameter` do.
    """
    defaults = default_parameters(notebook.path)
    values = profile_parameters(notebook, profile)
    values |= {name: parse_parameter(notebook.path, defaults, name, text) for name, text in typed.items()}
    return {name: value for name, value in values.items() if value != defaults[name]}


def profile_parameters(notebook: Notebook, profile: str, path: Path | None = None) -> dict[str, object]:
    """Return what the parameter file of a profile sets; ``default`` is what is stored, and sets nothing.

    It is for the file of cells at `path`, by default the stored notebook. Raises a CourseError for an unknown profile,
    a file that is missing or no mapping, or a name or type that the notebook does not have.
    """
    check_profile(profile)
    if profile == "default":
        return {}
    file = notebook.parameter_file(profile)
    if not file.exists():
        raise CourseError(
            f"{notebook.key} has no profile {profile!r}: there is no file profiles/{file.name} beside it."
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CourseError(f"{file.name} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise CourseError(f"{file.name} holds {values!r}; accepted are lines such as SEED: 3.")
    path = path or notebook.path
    defaults = default_parameters(path)
    return {name: checked(path, defaults, name, value) for name, value in values.items()}


def check_profile(profile: str) -> None:
    """Raise a CourseError for a profile that no notebook has."""
    if profile not in PROFILES:
        raise CourseError(f"The profile {profile!r} is unknown; choose one of {', '.join(PROFILES)}.")


def default_parameters(path: Path) -> dict[str, object]:
    """Return names and defaults of the cell tagged ``parameters`` of the notebook at ``path``.

    Raises a DamagedNotebook when there is no such file, or it is no notebook.
    """
    if not path.exists():
        raise DamagedNotebook(f"{path.name} is not there; make it by `course build {path.name[:2]}`.")
    try:  # as a file of JSON: papermill and nbformat take seconds to import, and a wrong name is to be told at once
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = ["".join(cell["source"]) for cell in cells if "parameters" in tags_of(cell)]
        lines = [line for source in tagged for line in ast.parse(source).body]
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines if isinstance(line, ast.Assign)}
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise DamagedNotebook(
            f"{path.name} is no notebook that can be read ({error}); `course build` makes it anew."
        ) from None


def parse_parameter(path: Path, defaults: dict[str, object], name: str, text: str) -> object:
    """Turn one typed value into one of the default's type; see `checked`."""
    if name == "PROFILE":
        raise CourseError("PROFILE is not typed with -p: choose it with --profile.")
    if name in PATHS:
        text = str(Path(text).expanduser().absolute())
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
