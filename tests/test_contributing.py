"""What helps the next contributor: the first draft of a notebook, a new row of the catalog, recorded references."""

import os

import pytest
import test_notebooks as rules
from test_assets import write_sdist, write_wheel

from course_tools import new, record
from course_tools.add_asset import add_asset
from course_tools.bench import peer
from course_tools.build import build, compose
from course_tools.new import new_notebook
from course_tools.notebooks import Notebook
from course_tools.parameters import profile_parameters
from course_utils.data import catalog
from course_utils.errors import CourseError
from course_utils.settings import ROOT

WORDS = {"kind": "model", "title": "Fake", "about": "A file.", "licence": "MIT", "citation": "Nobody (2020)."}


@pytest.fixture
def drafts(course, edit, monkeypatch):
    """The small course with drafts of a lesson and an experiment, whose kernels import the real package."""
    monkeypatch.setattr(new, "ROOT", course)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    edit("data/references.toml", "someone2020", "yosinski2014")
    return [Notebook("10_metric_learning"), Notebook("10_metric_learning", True)]


@pytest.mark.slow
def test_drafts_build_and_keep_the_bounds_of_their_storey(drafts):
    for notebook in drafts:
        files = new_notebook(notebook.name, notebook.is_experiment)
        assert [path.name for path in files] == ["10_metric_learning.py", "10.smoke.yaml", "10.full.yaml"]
        assert build.build(notebook) > 0 and build.differences(notebook) == []
        found, bounds = rules.measured(notebook), rules.BOUNDS["experiment" if notebook.is_experiment else "lesson"]
        assert {name: found[name] for name, bound in bounds.items() if found[name] > bound} == {}
        assert profile_parameters(notebook, "full") == {"PROFILE": "full"}
    rules.test_a_lesson_is_whole(drafts[0])


def test_a_draft_has_the_title_and_links_of_its_storey(drafts):
    for notebook in drafts:
        new_notebook(notebook.name, notebook.is_experiment)
    lesson, experiment = (compose.compose(notebook) for notebook in drafts)
    assert (
        lesson.cells[0].source.startswith("# 10 · Metric learning")
        and "experiments/10_metric" in lesson.cells[0].source
    )
    assert all(composed.cells[-1].source.endswith("expect.table()") for composed in (lesson, experiment))


@pytest.mark.parametrize("name", ["metric", "1_metric", "10_Metric", "10-metric", "../10_metric", "10_metric.py"])
def test_a_name_of_another_form_is_refused(drafts, name):
    with pytest.raises(CourseError, match="accepted are names such as 10_metric_learning"):
        new_notebook(name)


def test_a_number_that_is_taken_is_refused(drafts):
    with pytest.raises(CourseError, match="The number 02 is taken by experiments/02_other"):
        new_notebook("02_again", is_experiment=True)
    new_notebook("02_again")  # as a lesson it is free


@pytest.fixture
def index(course, monkeypatch):
    """The folder in which pip finds packages, and no other."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(course / "index"))
    return course / "index"


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_a_row_is_computed_and_written(index, form):
    write_wheel(index), write_sdist(index)
    family = "fake/data/photo_" if form == "wheel" else "fake-1.0/fake/data/photo_"
    path = index / ("fake-1.0-py3-none-any.whl" if form == "wheel" else "fake-1.0.tar.gz")
    row = add_asset("fake", "fake", "1.0", family, form, **WORDS)
    assert row["archive"] == path.name and len(row["member_sha256"]) == 64
    asset = catalog.find_asset("fake")
    assert asset.is_folder and asset.title == "Fake" and list(catalog.load_catalog()) == ["digits", "words", "fake"]


def test_bad_requests_get_one_sentence(index):
    write_wheel(index)
    for name, version, member, form, message in [
        ("digits", "1.0", "a", "any", "The name 'digits' is taken"),
        ("no name", "1.0", "a", "any", "no identifier"),
        ("fake", "1.0", "a", "egg", "The form 'egg' is unknown; accepted are any, wheel, sdist"),
        ("fake", "2.0", "a", "any", "fake 2.0 cannot be had: No matching distribution"),
        ("fake", "1.0", "fake/weights.bin", "any", "holds no fake/weights.bin. Near are: fake/data/weights.bin"),
        ("fake", "1.0", "fake/data/weights.bin", "any", "no whole PyTorch checkpoint"),
    ]:
        with pytest.raises(CourseError, match=message):
            add_asset(name, "fake", version, member, form, **WORDS)
    assert list(catalog.load_catalog()) == ["digits", "words"]


def test_recording_needs_the_environment_of_the_peers(monkeypatch):
    monkeypatch.setattr(peer, "peers_python", lambda: None)
    with pytest.raises(CourseError, match="no .venv-peers/ with PyTorch"):
        record.record("minilm")
    with pytest.raises(CourseError, match="no reference 'bert'; accepted are backbones, minilm, smollm2"):
        record.record("bert")
    assert {path.stem for path in record.REFERENCES.glob("*.npz")} == set(record.NAMES)
