"""The executed notebook beside what it has written, where it has a parameter ``OUT``: as notebook and as a page."""

import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from course_utils.settings import ROOT

SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)  # of formulas and diagrams, loaded from other hosts
OVERWRITTEN = re.compile(r"[^\n]*[\r\x08]+(?!\n)")  # earlier states of a bar that shows progress


def leave_report(executed: Path, parameters: dict[str, object]) -> None:
    """Put the executed notebook and its HTML into the folder that ``OUT`` names, where the notebook has made one."""
    if not parameters.get("OUT"):
        return
    folder = ROOT / "notebooks" / str(parameters["OUT"])  # the kernel's own folder, where OUT is no whole path
    if not folder.is_dir():
        return
    notebook = nbformat.read(executed, as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.output_type == "stream":
            output.text = OVERWRITTEN.sub("", output.text)
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    (folder / "report.html").write_text(SCRIPT.sub("", page), encoding="utf-8")
    nbformat.write(notebook, folder / "report.ipynb")
