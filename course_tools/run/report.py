"""The executed notebook beside what it has written, where it has a parameter ``OUT``: as notebook and as a page."""

import posixpath
import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from course_tools import settings
from course_tools.notebooks import tags_of
from course_utils.settings import ROOT

SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)  # of formulas and diagrams, loaded from other hosts
OVERWRITTEN = re.compile(r"[^\n]*[\r\x08]+(?!\n)")  # earlier states of a bar that shows progress
LINK_IN_THE_COURSE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!#|[a-z]+:)([^)#\s]+)(#[^)\s]+)?\)")
OF_THE_COURSE = "course-data"  # tag of prose that is true for the course's own data only


def leave_report(executed: Path, parameters: dict[str, object]) -> Path | None:
    """Put the executed notebook and its HTML into the folder that ``OUT`` names, where the notebook has made one.

    Returned is that folder.

    Links to other pages of the course would lead nowhere from there, so they become addresses or words. With ``DATA``,
    cells that speak of the course's own data are left out.
    """
    if not parameters.get("OUT"):
        return None
    folder = ROOT / "notebooks" / str(parameters["OUT"])  # the kernel's own folder, where OUT is no whole path
    if not folder.is_dir():
        return None
    notebook = nbformat.read(executed, as_version=4)
    if parameters.get("DATA"):
        notebook.cells = [cell for cell in notebook.cells if OF_THE_COURSE not in tags_of(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK_IN_THE_COURSE.sub(_resolved, cell.source)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = OVERWRITTEN.sub("", output.text)
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    (folder / "report.html").write_text(SCRIPT.sub("", page), encoding="utf-8")
    nbformat.write(notebook, folder / "report.ipynb")
    return folder.resolve()


def _resolved(link: re.Match) -> str:
    text, page, place = link[1], posixpath.normpath(posixpath.join("notebooks", link[2])), link[3] or ""
    if settings.REPOSITORY_URL:
        return f"[{text}]({settings.REPOSITORY_URL.removesuffix('.git')}/blob/main/{page}{place})"
    section = f", section *{place[1:].replace('-', ' ')}*" if place else ""
    return f"{text} (`{page}` of the course{section})"
