"""The first draft of a notebook: a source that builds, with all parts of its storey in their order."""

import re
from pathlib import Path

from course_tools.notebooks import Notebook, all_notebooks
from course_utils.errors import CourseError
from course_utils.settings import ROOT

TEMPLATES = Path(__file__).with_name("templates")
NAME = re.compile(r"[0-9]{2}_[a-z0-9]+(_[a-z0-9]+)*")


def new_notebook(name: str, is_experiment: bool = False) -> list[Path]:
    """Write the source of a notebook and its two files of parameters; return their paths.

    Raises a CourseError for a name other than two digits and words, such as ``10_metric_learning``, or a number that
    this storey has already.
    """
    if not NAME.fullmatch(name):
        raise CourseError(f"The name {name!r} is none of a notebook; accepted are names such as 10_metric_learning.")
    notebook = Notebook(name, is_experiment)
    storey = "experiments" if is_experiment else "lessons"
    if taken := [other for other in all_notebooks(storey) if other.number == notebook.number]:
        raise CourseError(f"The number {notebook.number} is taken by {taken[0].key}; take another one.")
    files = {notebook.source: _template(storey, name)}
    files |= {notebook.parameter_file(profile): f"PROFILE: {profile}\n" for profile in ("smoke", "full")}
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [path.relative_to(ROOT) for path in files]


def _template(storey: str, name: str) -> str:
    title = name[3:].replace("_", " ").capitalize()
    return (TEMPLATES / f"{storey}.txt").read_text(encoding="utf-8").replace("TITLE", title)
