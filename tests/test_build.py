"""From source to notebook: the frame around it, the figures in its prose, the agreement of both."""

import base64
import io

import nbformat
import numpy as np
import pytest
import skimage.data
from PIL import Image

from course_tools import notebooks
from course_tools.build import build, compose, frame
from course_tools.build.figures import shrink_figures
from course_tools.notebooks import Notebook
from course_utils.errors import CourseError
from course_utils.evaluation import expectations

SOURCE = """\
# ---
# jupyter:
#   course:
#     title: A title
#     question: Does it work?
#     goals: [see it]
#     prerequisites: [none]
#     recap: ["It reached {{accuracy.mean:.2f}}."]
#     references: [someone2020]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0

# %% [markdown]
# The right way gives {{accuracy.mean:.2f}} ± {{accuracy.std:.2f}}, the wrong one {{ accuracy.contrast }}.

# %% tags=["nbval-check-output"]
expect("accuracy", 0.9, contrast=0.1)

# %% tags=["solution"]
1 + 1

# %% [markdown] tags=["solution"]
# It was two.
"""

BANDS = """
[01_trial.default]
seconds = 65.2
seeds = [0, 1, 2, 3, 4]
[01_trial.default.bands.accuracy]
low = 0.8
high = 1.0
mean = 0.9
std = 0.01
contrast = 0.123
contrast_low = 0.1
contrast_high = 0.14
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A course of one notebook, in a folder of its own."""
    for module in (notebooks, frame):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(expectations, "BANDS_PATH", tmp_path / "bands.toml")
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "bands.toml").write_text(BANDS)
    (tmp_path / "data" / "references.toml").write_text(
        '[someone2020]\ntext = "Someone (2020). A paper."\nurl = "https://www.example.org/a"\n'
    )
    (tmp_path / "notebooks" / "source" / "01_trial.py").write_text(SOURCE, encoding="utf-8")
    return Notebook("01_trial")


def text_of(composed):
    return "\n".join(cell.source for cell in composed.cells)


def test_the_frame_surrounds_the_source(notebook):
    composed = compose.compose(notebook)
    text = text_of(composed)
    assert composed.cells[0].source.startswith("# 01 · A title") and "`default` 65 s" in composed.cells[0].source
    assert 'expect = Expectations("01_trial", PROFILE)' in composed.cells[3].source
    assert "Someone (2020). A paper. [example.org](https://www.example.org/a)" in composed.cells[-1].source
    assert "The right way gives 0.90 ± 0.01, the wrong one 0.123." in text and "It reached 0.90." in text


def test_without_an_address_badge_and_clone_are_left_out(notebook):
    text = text_of(compose.compose(notebook, address=""))
    assert "colab" not in text.lower() and "git clone" not in text


def test_with_an_address_badge_and_clone_are_there(notebook):
    text = text_of(compose.compose(notebook, address="https://github.com/someone/course"))
    assert "https://colab.research.google.com/github/someone/course/blob/main/notebooks/01_trial.ipynb" in text
    assert "git clone --quiet --depth 1 https://github.com/someone/course course" in text


def test_solutions_are_folded(notebook):
    code, prose = compose.compose(notebook).cells[-4:-2]
    assert code.metadata["jupyter"]["source_hidden"] and code.metadata["cellView"] == "form"
    assert code.source == "# @title Solution\n1 + 1"
    assert prose.source.startswith("<details>")


def test_a_figure_that_was_not_measured_is_refused(notebook):
    notebook.source.write_text(SOURCE.replace("accuracy.std", "recall.std"), encoding="utf-8")
    with pytest.raises(CourseError, match="quotes recall.std, which has not been measured"):
        compose.compose(notebook)
    assert "gives … ± …" in text_of(compose.compose(notebook, measured=False))


def test_an_unknown_reference_is_refused(notebook):
    notebook.source.write_text(SOURCE.replace("[someone2020]", "[nobody1999]"), encoding="utf-8")
    with pytest.raises(CourseError, match="nobody1999 are not in data/references.toml"):
        compose.compose(notebook)


def test_a_source_without_front_matter_is_refused(notebook):
    notebook.source.write_text("# %%\n1 + 1\n")
    with pytest.raises(CourseError, match="01_trial.py has no `course:` front matter"):
        compose.compose(notebook)


def test_build_stores_outputs_and_agrees_with_the_source(notebook):
    build.build(notebook)
    stored = nbformat.read(notebook.path, as_version=4)
    assert "accuracy: no band for profile default" in str([cell.get("outputs") for cell in stored.cells])
    assert build.differences(notebook) == []
    assert "papermill" not in str(stored.metadata)


@pytest.mark.parametrize(
    ("before", "after"),
    [("1 + 1", "1 + 2"), ("It was two", "It was three"), ('"nbval-check-output"', '"other"')],
)
def test_a_change_of_code_prose_or_tags_is_noticed(notebook, before, after):
    nbformat.write(compose.compose(notebook), notebook.path)
    assert build.differences(notebook) == []
    notebook.source.write_text(SOURCE.replace(before, after), encoding="utf-8")
    assert len(build.differences(notebook)) == 1


def test_figures_are_stored_small_and_look_the_same():
    photo = skimage.data.chelsea()
    original = io.BytesIO()
    Image.fromarray(photo).save(original, "png")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(original.getvalue()).decode()})
    shrink_figures([output])
    stored = base64.b64decode(output.data["image/png"])
    assert len(stored) < 0.5 * len(original.getvalue())
    difference = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"), float) - photo
    assert np.abs(difference).mean() < 4  # of 255


def test_a_failing_source_leaves_the_stored_notebook_alone(notebook):
    nbformat.write(compose.compose(notebook), notebook.path)
    before = notebook.path.read_bytes()
    notebook.source.write_text(SOURCE.replace("1 + 1", "1 / 0"), encoding="utf-8")
    with pytest.raises(CourseError, match="ZeroDivisionError"):
        build.build(notebook)
    assert notebook.path.read_bytes() == before
    assert [path.name for path in notebook.path.parent.glob("*.ipynb")] == ["01_trial.ipynb"]
