"""The cells that every notebook shares: title, set-up, start, recap and references."""

import re
import tomllib

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from course_utils.runner.notebooks import PROFILES, Notebook
from course_utils.settings import ROOT, CourseError

COLAB = "https://colab.research.google.com"
BADGE = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{{repository}}/blob/main/notebooks/{{name}}.ipynb)"

SET_UP = """\
# Set-up: on Colab this fetches and installs the course; elsewhere it does nothing.
import importlib.util
import sys

if importlib.util.find_spec("course_utils") is None:
    !git clone --quiet --depth 1 {url} course
    %pip install --quiet --editable course
    sys.path.insert(0, "course")"""

SET_UP_WITHOUT_ADDRESS = """\
# Set-up: the course is installed as its README says; there is nothing else to do.
import course_utils"""

START = """\
from course_utils.evaluation import Expectations, use_course_style
from course_utils.quiet import stderr_to

with stderr_to():  # TensorFlow greets on the error stream
    import keras

    keras.utils.set_random_seed(SEED)
use_course_style()
expect = Expectations("{name}", PROFILE)"""

FIGURES = """\
**Figures.** A measured figure in the text is the mean over several runs of this notebook, each with its own seed. The
outputs are of one run, so the two differ a little. `expect` compares a figure with its *band*, where 99% of further
runs should lie; "contrast outside" says that the same figure of a baseline or of a broken variant lies outside it. (A
band is computed from few runs as if a figure had no limits, so it may reach past what is possible, such as 1.)"""


def title_cell(notebook: Notebook, course: dict, seconds: dict[str, float], address: str) -> NotebookNode:
    """Return the first cell: title, Colab badge, question, goals, prerequisites, measured times, what figures mean."""
    parts = [f"# {notebook.number} · {course['title']}"]
    if address:
        repository = address.removeprefix("https://github.com/").removesuffix(".git")
        parts.append(BADGE.format(repository=repository, name=notebook.name))
    parts += [
        f"*{course['question']}*",
        "**Goals.** After this notebook you can\n\n" + _bullets(course["goals"]),
        "**Prerequisites**\n\n" + _bullets(course["prerequisites"]),
        _time_line(seconds),
        FIGURES,
    ]
    return new_markdown_cell("\n\n".join(parts))


def set_up_cell(address: str) -> NotebookNode:
    """Return the cell that installs the course on Colab and does nothing elsewhere."""
    text = SET_UP.format(url=address) if address else SET_UP_WITHOUT_ADDRESS
    return new_code_cell(text, metadata={"tags": ["set-up"]})


def start_cell(notebook: Notebook) -> NotebookNode:
    """Return the cell after the parameters: figure style, seeds, and the notebook's bands."""
    return new_code_cell(START.format(name=notebook.name), metadata={"tags": ["start"]})


def closing_cells(course: dict) -> list[NotebookNode]:
    """Return the recap and the references, which come from ``data/references.toml``."""
    known = tomllib.loads((ROOT / "data" / "references.toml").read_text(encoding="utf-8"))
    missing = [key for key in course["references"] if key not in known]
    if missing:
        raise CourseError(f"References {', '.join(missing)} are not in data/references.toml.")
    references = [f"{known[key]['text']} [{_host(known[key]['url'])}]({known[key]['url']})" for key in course["references"]]
    return [
        new_markdown_cell("## Recap\n\n" + _bullets(course["recap"])),
        new_markdown_cell("## References\n\n" + _bullets(references)),
    ]


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _host(url: str) -> str:
    return re.sub(r"^https?://(www\.)?([^/]+).*$", r"\2", url)


def _time_line(seconds: dict[str, float]) -> str:
    times = [f"`{profile}` {_duration(seconds[profile])}" for profile in PROFILES if profile in seconds]
    measured = f", measured on two CPU cores: {', '.join(times)}" if times else ""
    return f"**Time**{measured}. The parameter `PROFILE` chooses; the stored outputs are of `lesson`."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
