"""The parts of the README that are made from the notebooks: what each shows, and the image."""

import base64
import re

import jupytext
import nbformat

from course_tools.build.compose import with_figures
from course_tools.measure.records import read_seconds
from course_tools.notebooks import Notebook, all_notebooks, tags_of
from course_utils.errors import CourseError
from course_utils.settings import ROOT
from course_utils.whole_file import replacing

README = ROOT / "README.md"
IMAGE = ROOT / "notebooks" / "images" / "readme.png"
IMAGE_TAG = "readme-image"
TABLE = re.compile(r"(<!-- notebooks: `course readme` writes this table -->\n).*?(<!-- end -->)", re.DOTALL)


def readme_text() -> str:
    """Return the README with its table as the stored notebooks and the bands make it."""
    text = README.read_text(encoding="utf-8")
    if not TABLE.search(text):
        raise CourseError("README.md lacks the two comments between which the table of notebooks stands.")
    return TABLE.sub(lambda match: match[1] + "\n".join(notebooks_table()) + "\n" + match[2], text)


def write_readme() -> None:
    """Bring the README's table and image up to date."""
    with replacing(README) as partial:
        partial.write_text(readme_text(), encoding="utf-8")
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_bytes(_image())


def notebooks_table() -> list[str]:
    """Return the lines of a Markdown table: a row for each number, with its lesson and its experiment."""
    by_number: dict[str, list[Notebook]] = {}
    for notebook in all_notebooks():
        by_number.setdefault(notebook.number, []).append(notebook)  # a lesson stands before its experiment
    heads = ["| | What it shows, in numbers | Experiment | On two cores |", "|---|---|---|---|"]
    return heads + [_row(notebooks) for notebooks in by_number.values()]


def _row(notebooks: list[Notebook]) -> str:
    first = notebooks[0]
    course = jupytext.read(first.source, fmt="py:percent").metadata["course"]
    title = f"{first.number} {course['title']}"
    title = title if first.is_experiment else f"[{title}]({_address(first)})"
    experiments = [f"[measured]({_address(notebook)})" for notebook in notebooks if notebook.is_experiment]
    seconds = [read_seconds(notebook.key).get("default") for notebook in notebooks]
    times = " + ".join("–" if time is None else f"{max(10, round(time, -1)):.0f} s" for time in seconds)
    return f"| {title} | {with_figures(course['shows'], first)} | {''.join(experiments) or '–'} | {times} |"


def _address(notebook: Notebook) -> str:
    return notebook.path.relative_to(ROOT).as_posix()


def _image() -> bytes:
    for notebook in all_notebooks():
        for cell in nbformat.read(notebook.path, as_version=4).cells:
            if IMAGE_TAG in tags_of(cell):
                return base64.b64decode(
                    next(output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
                )
    raise CourseError(f"No notebook has a cell tagged {IMAGE_TAG!r}.")
