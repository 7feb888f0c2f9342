"""The parts of the README that are made: its table from sources and bands, its image from a stored notebook."""

import base64

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_tools.notebooks import Notebook
from course_tools.publish import readme
from course_utils.errors import CourseError

AROUND = "# Ünser Kurs\n<!-- notebooks: `course readme` writes this table -->\n{}<!-- end -->\nAfter"


@pytest.fixture
def page(course, edit, monkeypatch):
    """The small course with a README, whose sources say what they show."""
    monkeypatch.setattr(readme, "ROOT", course)
    monkeypatch.setattr(readme, "README", course / "README.md")
    monkeypatch.setattr(readme, "IMAGE", course / "notebooks" / "images" / "readme.png")
    for name in ("01_trial", "experiments/01_trial", "experiments/02_other"):
        edit(f"notebooks/source/{name}.py", "question:", 'shows: "{{accuracy.mean:.1f}} of 1"\n#     question:')
    (course / "data" / "seconds.toml").write_text('[01_trial]\ndefault = 65.2\n["experiments/02_other"]\ndefault = 4\n')
    readme.README.write_text(AROUND.format("| old |\n"), encoding="utf-8")
    return course


def store(notebook, tag, *outputs):
    """Write a notebook whose second cell has a tag and these outputs."""
    cells = [new_code_cell("1"), new_code_cell("2", metadata={"tags": [tag]}, outputs=list(outputs))]
    notebook.path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), notebook.path)


def image(content):
    return new_output("display_data", {"image/png": base64.b64encode(content).decode()})


def test_a_row_has_the_lesson_its_experiment_and_the_seconds_of_both(page):
    assert readme.notebooks_table() == [
        "| | What it shows, in numbers | Experiment | On two cores |",
        "|---|---|---|---|",
        "| [01 A title](notebooks/01_trial.ipynb) | 0.9 of 1 | [measured](notebooks/experiments/01_trial.ipynb) "
        "| 70 s + – |",
        "| 02 A title | 0.9 of 1 | [measured](notebooks/experiments/02_other.ipynb) | 10 s |",
    ]
    Notebook("01_trial", True).source.unlink()
    assert readme.notebooks_table()[2].endswith("| 0.9 of 1 | – | 70 s |")


def test_only_what_stands_between_the_comments_is_written_anew_with_the_image(page):
    drawn = new_output("stream", text="before it"), image(b"drawn"), image(b"later")
    store(Notebook("01_trial"), "other", image(b"another"))
    store(Notebook("01_trial", True), "readme-image", *drawn)
    readme.write_readme()
    rows = "".join(f"{line}\n" for line in readme.notebooks_table())
    assert readme.README.read_text(encoding="utf-8") == AROUND.format(rows) == readme.readme_text()
    assert readme.IMAGE.read_bytes() == b"drawn"
    readme.write_readme()  # the folder of the image is there already
    store(Notebook("01_trial", True), "other")
    store(Notebook("02_other", True), "other")
    with pytest.raises(CourseError, match="No notebook has a cell tagged 'readme-image'"):
        readme.write_readme()


def test_a_readme_without_a_place_for_the_table_is_refused(page):
    readme.README.write_text("# A course\n", encoding="utf-8")
    with pytest.raises(CourseError, match="README.md lacks the two comments"):
        readme.readme_text()
