"""From source to notebook: the frame around it, the figures in its prose, the agreement of both."""

import base64
import io

import nbformat
import numpy as np
import pytest
import skimage.data
from PIL import Image

from course_tools import settings
from course_tools.build import build, compose
from course_tools.build.figures import shrink_figures
from course_tools.notebooks import Notebook, tags_of
from course_utils.errors import CourseError

LESSON, EXPERIMENT, SOURCE = Notebook("01_trial"), Notebook("01_trial", True), "notebooks/source/01_trial.py"


def text_of(composed):
    return "\n".join(cell.source for cell in composed.cells)


def cells_tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in tags_of(cell)]


def outputs_of(notebook):
    return [cell.get("outputs") for cell in nbformat.read(notebook.path, as_version=4).cells]


def test_the_frame_surrounds_the_source(course):
    composed = compose.compose(LESSON)
    title, parameters, start = composed.cells[:3]
    assert title.source.startswith("# 01 · A title") and "*machine* 70 s on two cores" in title.source
    assert parameters.source.startswith("# @title Parameters\nPROFILE")
    assert 'expect = begin("01_trial", PROFILE, SEED)' in start.source and start.metadata.jupyter.source_hidden
    assert "Someone (2020). A paper. [example.org](https://www.example.org/a)" in composed.cells[-2].source
    assert composed.cells[-1].source.startswith("# @title This run beside five runs\nexpect(")
    assert "The right way gives 0.90 ± 0.012, the wrong one 0.123." in text_of(composed)
    assert "It reached 0.90." in composed.cells[-3].source
    # With these, Jupyter opens it without asking for a kernel, and colours its code.
    assert composed.metadata.kernelspec.name == "python3" and composed.metadata.language_info.name == "python"
    assert composed.metadata.kernelspec.language == "python" and composed.metadata.kernelspec.display_name == "Python 3"


def test_each_storey_links_the_other(course):
    lesson, experiment = (compose.compose(notebook).cells[0].source for notebook in (LESSON, EXPERIMENT))
    assert "[experiment](experiments/01_trial.ipynb) of this lesson" in lesson and "**Figures.**" not in lesson
    assert "lesson above it: [01_trial](../01_trial.ipynb)" in experiment and "**Figures.**" in experiment
    assert "lesson above" not in compose.compose(Notebook("02_other", True)).cells[0].source


def test_without_an_address_badge_and_clone_are_left_out(course, monkeypatch):
    monkeypatch.setattr(settings, "REPOSITORY_URL", "")
    text = text_of(compose.compose(LESSON))
    assert "colab" not in text.lower() and "git clone" not in text


def test_with_an_address_badge_and_clone_are_there(course, monkeypatch):
    monkeypatch.setattr(settings, "REPOSITORY_URL", "https://github.com/someone/course")
    text = text_of(compose.compose(EXPERIMENT))
    place = "github/someone/course/blob/main/notebooks/experiments/01_trial.ipynb"
    assert f"https://colab.research.google.com/{place}" in text
    assert "git clone --quiet --depth 1 https://github.com/someone/course course" in text


def test_solutions_and_machinery_are_folded(course):
    code, prose = cells_tagged(composed := compose.compose(LESSON), "solution")
    assert code.metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}
    assert code.source == "# @title Solution\n1 + 1"
    assert prose.source.startswith("<details>")
    (machinery,) = cells_tagged(composed, "fold")
    assert machinery.source == "# @title The machinery\nseveral = 1"
    assert machinery.metadata.jupyter == {"source_hidden": True}  # what it shows is seen
    assert code.metadata.cellView == machinery.metadata.cellView == "form"  # folded on Colab, too


def test_a_figure_that_was_not_measured_is_refused(course, edit):
    edit(SOURCE, "accuracy.half_width", "recall.half_width")
    with pytest.raises(CourseError, match=r"quotes \{\{recall.half_width:.3f\}\}, which has not been measured"):
        compose.compose(LESSON)
    assert "gives … ± …" in text_of(compose.compose(LESSON, measured=False))


def test_a_lesson_quotes_its_experiment(course, edit):
    edit(SOURCE, "{{ accuracy.contrast }}", "{{experiment.accuracy.mean:.1f}}")
    text = (course / "bands.toml").read_text()
    own, other = text.split('["experiments/01_trial".default]')
    (course / "bands.toml").write_text(
        own + '["experiments/01_trial".default]' + other.replace("mean = 0.9", "mean = 0.85")
    )
    assert "the wrong one 0.8" in text_of(compose.compose(LESSON)) and "gives 0.90" in text_of(compose.compose(LESSON))


def test_a_notebook_quotes_its_last_full_run(course, edit, monkeypatch):
    monkeypatch.setattr(compose, "RESULTS_PATH", course / "results.toml")
    edit(SOURCE, "{{ accuracy.contrast }}", "{{full.accuracy.value:.2f}}")
    with pytest.raises(CourseError, match=r"which has not been measured: run `course results`"):
        compose.compose(LESSON)
    (course / "results.toml").write_text("[01_trial.accuracy]\nvalue = 0.974\n")
    assert "the wrong one 0.97" in text_of(compose.compose(LESSON)) and "gives 0.90" in text_of(compose.compose(LESSON))


def test_an_unknown_reference_is_refused(course, edit):
    edit(SOURCE, "[someone2020]", "[nobody1999]")
    with pytest.raises(CourseError, match="nobody1999 are not in data/references.toml"):
        compose.compose(LESSON)


def test_a_source_without_front_matter_is_refused(course):
    LESSON.source.write_text("# %%\n1 + 1\n")
    with pytest.raises(CourseError, match="01_trial.py has no `course:` front matter"):
        compose.compose(LESSON)


def test_build_stores_outputs_and_agrees_with_the_source(course):
    assert build.build(LESSON) > 0
    stored = nbformat.read(LESSON.path, as_version=4)
    assert "accuracy 0.9" in str(outputs_of(LESSON)[-1]) and build.differences(LESSON) == []
    assert "papermill" not in str(stored.metadata) and len(stored.metadata.fingerprint) == 64


def test_a_sentence_is_filled_in_without_execution(course, edit, monkeypatch):
    build.build(LESSON)
    before = outputs_of(LESSON)
    monkeypatch.setattr(build, "execute", None)
    edit(SOURCE, "The right way gives", "Done well, it gives")
    assert len(build.differences(LESSON)) == 1
    assert build.build(LESSON) is None
    assert build.differences(LESSON) == [] and outputs_of(LESSON) == before
    with pytest.raises(TypeError):  # it would execute
        build.build(LESSON, force=True)


@pytest.mark.parametrize(
    ("before", "after"), [("1 + 1", "1 + 2"), ("It was two", "It was three"), ('"nbval-check-output"', '"other"')]
)
def test_a_change_of_code_prose_or_tags_is_noticed(course, edit, before, after):
    nbformat.write(compose.compose(LESSON), LESSON.path)
    assert build.differences(LESSON) == []
    edit(SOURCE, before, after)
    assert len(build.differences(LESSON)) == 1


def figure_of(photo):
    png = io.BytesIO()
    Image.fromarray(photo).save(png, "png")
    return nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(png.getvalue()).decode()})


def test_figures_are_stored_small_and_look_the_same():
    output = figure_of(photo := skimage.data.chelsea())
    original = len(output.data["image/png"])
    shrink_figures([output])
    assert len(output.data["image/png"]) < 0.5 * original
    stored = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    difference = np.asarray(stored.convert("RGB"), float) - photo
    assert np.abs(difference).mean() < 4  # of 255
    assert len(stored.getcolors()) == 256


def test_a_figure_that_is_small_already_and_other_outputs_stay_as_they_are():
    two_colours = io.BytesIO()
    Image.fromarray(np.eye(64, dtype=bool)).save(two_colours, "png", optimize=True)
    small = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(two_colours.getvalue()).decode()})
    outputs = [nbformat.v4.new_output("stream", text="epoch 1"), small]
    outputs.append(nbformat.v4.new_output("display_data", {"text/html": "<b>1</b>"}))
    before = str(outputs)
    shrink_figures(outputs)
    assert str(outputs) == before


def test_a_figure_is_shrunk_when_it_is_made_and_kept_when_the_text_is_filled_anew(course, edit, monkeypatch):
    photo = figure_of(skimage.data.chelsea())

    def show(path):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[-1].outputs = [photo]
        nbformat.write(notebook, path)

    monkeypatch.setattr(build, "execute", lambda draft, *_: show(draft) or {"status": "passed", "seconds": 1.0})
    build.build(LESSON)
    (made,) = outputs_of(LESSON)[-1]
    assert len(made.data["image/png"]) < 0.5 * len(photo.data["image/png"])
    show(LESSON.path)  # a stored figure is not touched, even where it could be smaller
    edit(SOURCE, "The right way gives", "Done well, it gives")
    assert build.build(LESSON) is None
    assert outputs_of(LESSON)[-1] == [photo]


def test_a_failing_source_leaves_the_stored_notebook_alone(course, edit):
    nbformat.write(compose.compose(LESSON), LESSON.path)
    before = LESSON.path.read_bytes()
    edit(SOURCE, "1 + 1", "1 / 0")
    with pytest.raises(CourseError, match="ZeroDivisionError"):
        build.build(LESSON)
    assert LESSON.path.read_bytes() == before
    assert [path.name for path in LESSON.path.parent.glob("*.ipynb")] == ["01_trial.ipynb"]


def test_a_second_build_of_a_notebook_is_refused_and_one_of_another_is_not(course, monkeypatch):
    monkeypatch.setattr(build, "execute", lambda *_: build.build(LESSON))
    with pytest.raises(CourseError, match="Another build of 01_trial is at work; wait until it has finished."):
        build.build(LESSON)
    with pytest.raises(CourseError, match="Another build of 01_trial is at work"):
        build.build(EXPERIMENT)  # which builds the lesson, whose own build is under way
