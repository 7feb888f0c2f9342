"""The report beside what a notebook has written speaks of the reader's own data alone, and leads nowhere in vain."""

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from course_tools import settings
from course_tools.build.compose import compose
from course_tools.notebooks import Notebook
from course_tools.run.report import leave_report


@pytest.mark.parametrize(
    "address, resolved",
    [
        ("", "rubric (<code>docs/teaching.md</code> of the course, section <em>a project</em>)"),
        (
            "https://example.org/c.git",
            '<a href="https://example.org/c/blob/main/docs/teaching.md#a-project">rubric</a>',
        ),
    ],
)
def test_a_report_of_own_data_has_no_dead_link_and_no_word_of_other_data(tmp_path, monkeypatch, address, resolved):
    monkeypatch.setattr(settings, "REPOSITORY_URL", address)
    prose = "A [rubric](../docs/teaching.md#a-project), [a host](https://example.com), ![x](data:image/png;base64,AA==)"
    cells = [new_markdown_cell(prose), new_markdown_cell("On pictograms.", metadata={"tags": ["course-data"]})]
    nbformat.write(new_notebook(cells=cells), tmp_path / "run.ipynb")
    for data in ("", "mine"):
        leave_report(tmp_path / "run.ipynb", {"OUT": str(tmp_path), "DATA": data})
        page = (tmp_path / "report.html").read_text()
        assert resolved in page and '"../' not in page and '<a href="https://example.com">a host</a>' in page
        assert ("On pictograms." in page) == (data == "")


def test_a_report_of_own_data_cites_nothing_of_other_data(tmp_path):
    nbformat.write(compose(Notebook("10_your_project"), measured=False), tmp_path / "run.ipynb")
    for data, credited in (("", True), ("mine", False)):
        leave_report(tmp_path / "run.ipynb", {"OUT": str(tmp_path), "DATA": data})
        page = (tmp_path / "report.html").read_text()
        assert ("openmoji" in page.lower().partition("references")[2]) == credited and "Salton" in page
