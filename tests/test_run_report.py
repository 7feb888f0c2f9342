"""The report beside what a notebook has written speaks of the reader's own data alone, and leads nowhere in vain."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_tools import settings
from course_tools.build.compose import compose
from course_tools.notebooks import Notebook
from course_tools.run import report
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


def test_a_report_lies_in_the_folder_that_the_notebook_has_made_and_is_whole_without_a_net(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    outputs = [
        new_output("stream", text="10%\r90%\rdone\n1/2\x08\x08\x082/2\nend\r\n"),
        new_output("display_data", {"image/png": image}),
    ]
    nbformat.write(new_notebook(cells=[new_code_cell("fit()", outputs=outputs)]), tmp_path / "run.ipynb")
    assert leave_report(tmp_path / "run.ipynb", {}) is None
    assert leave_report(tmp_path / "run.ipynb", {"OUT": "out"}) is None  # it was not made
    out = tmp_path / "notebooks" / "out"
    out.mkdir(parents=True)
    assert leave_report(tmp_path / "run.ipynb", {"OUT": "../notebooks/out"}) == out
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.ipynb"]
    (cell,) = nbformat.read(out / "report.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "done\n2/2\nend\r\n" and cell.outputs[1].data["image/png"] == image
    page = (out / "report.html").read_text(encoding="utf-8")
    assert image in page and "<script" not in page and "90%" not in page
