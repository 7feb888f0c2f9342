"""Slides of the lessons: ``slides/NN.md`` with the measured figures and the images of the stored notebooks."""

import re
from pathlib import Path

import nbformat

from course_tools.build.compose import with_figures
from course_tools.notebooks import Notebook, select_notebooks
from course_tools.publish import sphinx
from course_utils.errors import CourseError
from course_utils.settings import ROOT

SLIDES = ROOT / "build" / "slides"
FIGURE = re.compile(r"\{\{figure (.+?)\}\}")
CONFIG = {
    "extensions": ["myst_nb", "sphinx_revealjs"],
    "root_doc": "slides/index",
    "include_patterns": ["slides/*.md"],
    "revealjs_css_files": ["slides.css"],
    "revealjs_static_path": [str(sphinx.STATIC)],
    "revealjs_style_theme": "white",
    "revealjs_script_conf": {"hash": True, "slideNumber": "c", "width": 1280, "height": 720, "transition": "none"},
}


def build_slides(target: Path = SLIDES) -> Path:
    """Build the slides into a folder, which they replace, and return the page that lists them."""
    sphinx.build(target, "revealjs", CONFIG, _prepared)
    return target / "slides" / "index.html"


def _prepared(name: str, text: str) -> str:
    if name == CONFIG["root_doc"]:
        return text
    lesson = select_notebooks([Path(name).name])[0]
    text = with_figures(text, lesson).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    return FIGURE.sub(lambda match: _figure(lesson, match[1]), text)


def _figure(lesson: Notebook, begins: str) -> str:
    """Return the figure of a lesson whose alt text begins with these words, as an image of Markdown."""
    for cell in nbformat.read(lesson.path, as_version=4).cells:
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if alt.startswith(begins):
                return f"![{alt}](data:image/png;base64,{output.data['image/png'].strip()})"
    raise CourseError(f"{lesson.key} has no figure whose alt text begins with {begins!r}.")
