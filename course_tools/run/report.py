"""The executed notebook beside what it has written, where it has a parameter ``OUT``: as notebook and as a page."""

import re
import shutil
from pathlib import Path

from nbconvert import HTMLExporter

from course_utils.settings import ROOT

SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)  # of formulas and diagrams, loaded from other hosts


def leave_report(executed: Path, parameters: dict[str, object]) -> None:
    """Put the executed notebook and its HTML into the folder that ``OUT`` names, where the notebook has made one."""
    if not parameters.get("OUT"):
        return
    folder = ROOT / "notebooks" / str(parameters["OUT"])  # the kernel's own folder, where OUT is no whole path
    if folder.is_dir():
        page, _ = HTMLExporter(embed_images=True).from_filename(str(executed))
        (folder / "report.html").write_text(SCRIPT.sub("", page), encoding="utf-8")
        shutil.copyfile(executed, folder / "report.ipynb")
