"""The cells that every notebook shares: title, set-up, start, recap and references."""

import tomllib
from urllib.parse import urlsplit

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from course_tools import settings
from course_tools.notebooks import Notebook, all_notebooks
from course_utils.errors import CourseError
from course_utils.settings import ROOT

COLAB = "https://colab.research.google.com"
BADGE = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{{repository}}/blob/main/{{path}})"

SET_UP = """\
import importlib.util
import sys

if importlib.util.find_spec("course_utils") is None:
    !git clone --quiet --depth 1 {url} course
    %pip install --quiet --editable course
    sys.path.insert(0, "course")"""

START = """\
from course_utils.notebook import begin

expect = begin("{key}", PROFILE, SEED)"""

# Tags of folded cells, each with its title; a cell tagged `fold` brings its own, its first line.
FOLDED = {
    "parameters": "Parameters",
    "set-up": "On Colab, install the course",
    "start": "Start: seed, style of figures, quiet",
    "headline": "This run beside five runs",
    "fold": "",
}

FIGURES = """\
**Figures.** A measured figure in the text is the mean over several runs of this notebook, each with its own seed;
"±" is half the width of the 95% confidence interval of that mean. The outputs are of one run, so the two differ a
little; the table at the end shows both. Where a figure has a baseline or a broken variant beside it, `expect` stops
the notebook when a run does not show the difference."""


def title_cell(notebook: Notebook, course: dict, seconds: dict[str, float]) -> NotebookNode:
    """Return the first cell: title, launch badge, question, goals, prerequisites, minutes, the other storey."""
    parts = [f"# {notebook.number} · {course['title']}"]
    if settings.REPOSITORY_URL:
        repository = settings.REPOSITORY_URL.removeprefix("https://github.com/").removesuffix(".git")
        parts.append(BADGE.format(repository=repository, path=f"notebooks/{notebook.key}.ipynb"))
    storey = "experiment" if notebook.is_experiment else "lesson"
    parts += [
        f"*{course['question']}*",
        f"**After this {storey} you can**\n\n" + _bullets(course["goals"]),
        "**You need**\n\n" + _bullets(course["prerequisites"]),
        _time_line(course, seconds),
        _other_storey(notebook),
    ]
    return new_markdown_cell("\n\n".join(part for part in parts if part))


def set_up_cells() -> list[NotebookNode]:
    """Return the cell that installs the course on Colab; none while the course has no public address."""
    if not settings.REPOSITORY_URL:
        return []
    source = f"# @title {FOLDED['set-up']}\n{SET_UP.format(url=settings.REPOSITORY_URL)}"
    return [new_code_cell(source, metadata={"tags": ["set-up"]})]


def start_cell(notebook: Notebook) -> NotebookNode:
    """Return the cell after the parameters: seeds, figure style, and the notebook's bands."""
    return new_code_cell(START.format(key=notebook.key), metadata={"tags": ["start"]})


def recap_cells(course: dict) -> list[NotebookNode]:
    """Return the recap, where the front matter has one."""
    return [new_markdown_cell("## Recap\n\n" + _bullets(course["recap"]))] if "recap" in course else []


def reference_cells(course: dict) -> list[NotebookNode]:
    """Return the references, which come from ``data/references.toml``.

    Those that the front matter calls ``course-data-references`` stand in a cell of their own, tagged ``course-data``:
    a report of the reader's own data does not have it.
    """
    known = tomllib.loads((ROOT / "data" / "references.toml").read_text(encoding="utf-8"))
    of_all, of_the_course = course["references"], course.get("course-data-references", [])
    missing = [key for key in [*of_all, *of_the_course] if key not in known]
    if missing:
        raise CourseError(f"References {', '.join(missing)} are not in data/references.toml.")

    def listed(keys: list[str]) -> str:
        return _bullets([_reference(**known[key]) for key in keys])

    cells = [new_markdown_cell("## References\n\n" + listed(of_all))]
    if of_the_course:
        cells.append(new_markdown_cell(listed(of_the_course), metadata={"tags": ["course-data"]}))
    return cells


def _other_storey(notebook: Notebook) -> str:
    """Return the link from a lesson to its experiment or back, and what figures mean."""
    other = Notebook(notebook.name, not notebook.is_experiment)
    link = ""
    if other in all_notebooks() and notebook.is_experiment:
        link = f"The lesson above it: [{other.name}](../{other.name}.ipynb)."
    elif other in all_notebooks():
        link = f"The [experiment](experiments/{other.name}.ipynb) of this lesson has more runs and controls."
    return "\n\n".join(part for part in (link, FIGURES if notebook.is_experiment else "") if part)


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _reference(text: str, url: str) -> str:
    return f"{text} [{urlsplit(url).netloc.removeprefix('www.')}]({url})"


def _time_line(course: dict, seconds: dict[str, float]) -> str:
    """Return the minutes of reader and machine, rounded: a measurement must not change the text each time."""
    times = [f"*{what}* {minutes} minutes" for what, minutes in course.get("minutes", {}).items()]
    if "default" in seconds:
        times.append(f"*machine* {max(10, round(seconds['default'], -1)):.0f} s on two cores")
    if "full" in seconds:
        times.append(f"{seconds['full'] / 60:.0f} minutes with the profile `full`")
    return "**Time:** " + " · ".join(times) + "." if times else ""
