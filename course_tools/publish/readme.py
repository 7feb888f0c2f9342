"""The parts of the README that are made from the notebooks: what each shows, the results of `full`, and the image."""

import base64
import re

import jupytext
import nbformat

from course_tools.build.compose import with_figures
from course_tools.measure.results import results_table
from course_tools.notebooks import Notebook, all_notebooks
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands
from course_utils.settings import ROOT
from course_utils.whole_file import replacing

README = ROOT / "README.md"
IMAGE = ROOT / "notebooks" / "images" / "readme.png"
IMAGE_TAG = "readme-image"
TABLE = r"(<!-- {}: `course readme` writes this table -->\n).*?(<!-- end -->)"


def readme_text() -> str:
    """Return the README with its tables as the stored notebooks, the bands and the last `full` runs make them."""
    notebooks = [
        "| Notebook | What it shows, in numbers | `default` |",
        "|---|---|---|",
        *map(_row, all_notebooks()),
    ]
    text = README.read_text(encoding="utf-8")
    for name, rows in {"notebooks": notebooks, "results": results_table()}.items():
        place = re.compile(TABLE.format(name), re.DOTALL)
        if not place.search(text):
            raise CourseError(f"README.md lacks the two comments between which the table of {name} stands.")
        text = place.sub(lambda match: match[1] + "\n".join(rows) + "\n" + match[2], text)
    return text


def write_readme() -> None:
    """Bring the README's tables and image up to date."""
    with replacing(README) as partial:
        partial.write_text(readme_text(), encoding="utf-8")
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_bytes(_image())


def _row(notebook: Notebook) -> str:
    course = jupytext.read(notebook.source, fmt="py:percent").metadata["course"]
    record = read_bands()[notebook.name]["default"]
    shows = with_figures(course["shows"], record["bands"], notebook.source.name)
    return f"| [{notebook.number} {course['title']}](notebooks/{notebook.path.name}) | {shows} | {record['seconds']:.0f} s |"


def _image() -> bytes:
    for notebook in all_notebooks():
        for cell in nbformat.read(notebook.path, as_version=4).cells:
            if IMAGE_TAG in cell.metadata.get("tags", []):
                return base64.b64decode(
                    next(output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
                )
    raise CourseError(f"No notebook has a cell tagged {IMAGE_TAG!r}.")
