"""The course as pages: the stored notebooks and ``docs/``, with search, dark mode and buttons to launch."""

from pathlib import Path

import nbformat

from course_tools import settings
from course_tools.build.compose import page_with_figures
from course_tools.notebooks import all_notebooks, select_notebooks
from course_tools.publish import sphinx
from course_tools.publish.measured import measured_tables, status_table
from course_tools.publish.readable import readable
from course_tools.publish.readme import notebooks_table
from course_tools.publish.slides import build_slides
from course_utils.settings import ROOT

SITE = ROOT / "build" / "site"
CONFIG = {
    "extensions": ["myst_nb", "sphinx.ext.mathjax", "sphinx-mathjax-offline", "course_tools.publish.glossary"],
    "myst_enable_extensions": ["dollarmath"],
    "myst_heading_anchors": 2,
    "root_doc": "docs/index",
    "include_patterns": ["docs/*.md", "notebooks/*.ipynb", "notebooks/experiments/*.ipynb", "CONTRIBUTING.md"],
    "html_theme": "sphinx_book_theme",
    "html_title": "Transfer learning",
    "html_css_files": ["course.css"],
    "html_context": {"default_mode": "auto"},
}
THEME = {
    "navbar_persistent": [],  # else a second search box
    "use_fullscreen_button": False,
}
LAUNCH = {
    "repository_url": settings.REPOSITORY_URL,
    "repository_branch": "main",
    "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
}
# The slides are another build of Sphinx, beside the pages: a link of HTML, which Sphinx does not look up.
TO_SLIDES = '<a href="../slides/slides/{page}.html">Slides of this lesson</a>'
FIRST_PAGE = """\
<!doctype html><meta charset="utf-8"><title>Transfer learning</title>
<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">To the course</a>
"""


def build_site(target: Path = SITE) -> Path:
    """Build the pages and the slides into a folder, which they replace, and return the first page."""
    theme = THEME | (LAUNCH if settings.REPOSITORY_URL else {})
    sphinx.build(target, "html", CONFIG | {"html_theme_options": theme}, _prepared)
    build_slides(target / "slides")
    (target / "index.html").write_text(FIRST_PAGE, encoding="utf-8")
    return target / "index.html"


def _prepared(name: str, text: str) -> str:
    """Return a notebook with its machinery folded, and another document with its generated parts filled in."""
    if name.startswith("notebooks/"):
        notebook = readable(nbformat.reads(text, as_version=4))
        deck = ROOT / "slides" / f"{Path(name).name[:2]}.md"
        if Path(name).parent.name == "notebooks" and deck.is_file():
            notebook.cells[0].source += "\n\n" + TO_SLIDES.format(page=deck.stem)
        return nbformat.writes(notebook)
    for part, lines in GENERATED.items():
        if (mark := f"<!-- {part} -->") in text:
            text = text.replace(mark, "\n".join(lines()))
    return page_with_figures(text, name) if name.startswith("docs/") else text


def _course() -> list[str]:
    """Return the documents of the lessons; an experiment stands in while a number has none."""
    return [f"/notebooks/{notebook.key}" for notebook in select_notebooks(None)]


def _experiments() -> list[str]:
    """Return the documents of the other experiments."""
    return [
        document
        for notebook in all_notebooks("experiments")
        if (document := f"/notebooks/{notebook.key}") not in _course()
    ]


def _path() -> list[str]:
    return [row.replace("](notebooks/", "](../notebooks/") for row in notebooks_table()]


GENERATED = {
    "course": _course,
    "experiments": _experiments,
    "path": _path,
    "status": status_table,
    "measured": measured_tables,
}
