"""What makes a stored notebook stale, and what does not."""

import nbformat
import pytest

from course_tools.build.compose import compose
from course_tools.build.fingerprint import _assets_named_in, fingerprint, imported_files, is_stale
from course_tools.notebooks import Notebook, all_notebooks
from course_utils.data import catalog
from course_utils.settings import ROOT

LESSON, EXPERIMENT, OTHER = NOTEBOOKS = [Notebook("01_trial"), Notebook("01_trial", True), Notebook("02_other", True)]
SOURCE = "notebooks/source/experiments/01_trial.py"


@pytest.fixture
def stored(course):
    """The small course with all its notebooks as they would be stored."""
    for notebook in NOTEBOOKS:
        composed = compose(notebook)
        composed.metadata["fingerprint"] = fingerprint(notebook, composed.cells, {})
        notebook.path.parent.mkdir(exist_ok=True)
        nbformat.write(composed, notebook.path)
    assert stale() == []
    return course


def stale():
    """Return which stored notebooks differ in their fingerprint from what their sources make now."""
    found = []
    for notebook in NOTEBOOKS:
        old = nbformat.read(notebook.path, as_version=4).metadata.fingerprint
        if old != fingerprint(notebook, compose(notebook).cells, {}):
            found.append(notebook)
    return found


@pytest.mark.parametrize(
    ("file", "before", "after", "made_stale"),
    [
        # What a contributor edits, and which notebooks must be executed again.
        ("course_utils/data/digits.py", "return 1", "return 3", [LESSON, EXPERIMENT]),
        ("course_utils/data/words.py", "return 2", "return 3", [OTHER]),
        ("course_utils/errors.py", "ValueError", "TypeError", [LESSON, EXPERIMENT]),  # imported by digits only
        ("course_utils/notebook.py", "{value}", "{contrast}", NOTEBOOKS),
        ("data/catalog.toml", '[digits]\nkind = "data"', '[digits]\nkind = "data"\nsha256 = "2"', [LESSON, EXPERIMENT]),
        ("data/catalog.toml", '[words]\nkind = "data"', '[words]\nkind = "data"\nmd5 = "2"', [OTHER]),
        ("data/catalog.toml", 'member_sha256 = "1"', 'member_sha256 = "2"', NOTEBOOKS),
        ("data/catalog.toml", 'title = "T"', 'title = "Another title"', []),
        ("requirements.lock", "2.0", "2.1", NOTEBOOKS),
        ("data/seconds.toml", "65.2", "165.2", []),
        (SOURCE, "The right way gives", "Done well, it gives", []),
        (SOURCE, "It was two.", "Two, of course.", []),
        (SOURCE, "title: A title", "title: Another title", []),
        (SOURCE, "1 + 1", "1 + 2", [EXPERIMENT]),
        (SOURCE, "SEED = 0", "SEED = 1", [EXPERIMENT]),
        (SOURCE, '"nbval-check-output"', '"other"', [EXPERIMENT]),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it_and_nothing_else(stored, edit, file, before, after, made_stale):
    edit(file, before, after)
    assert stale() == made_stale


def test_tools_and_tests_make_nothing_stale(stored):
    (stored / "course_tools" / "cli.py").write_text("changed = True")
    (stored / "tests").mkdir()
    (stored / "tests" / "test_a.py").write_text("changed = True")
    (stored / "course_utils" / "unused.py").write_text("changed = True")
    assert stale() == []


@pytest.mark.parametrize(
    ("key", "made_stale"),
    # A lesson may draw the bands of its experiment, so it depends on them too.
    [("01_trial", [LESSON]), ("experiments/01_trial", [LESSON, EXPERIMENT]), ("experiments/02_other", [OTHER])],
)
def test_bands_belong_to_their_notebook(stored, key, made_stale):
    head = f'["{key}".default.bands.accuracy]\nlow = 0.8\n'
    path = stored / "bands.toml"
    text = path.read_text()
    assert head in text
    path.write_text(text.replace(head, head.replace("0.8", "0.7")))
    assert stale() == made_stale


def test_parameters_and_python_count(stored, monkeypatch):
    cells = compose(LESSON).cells
    assert fingerprint(LESSON, cells, {"SEED": 1}) != fingerprint(LESSON, cells, {})
    monkeypatch.setattr("sys.version_info", (3, 99, 0))
    assert stale() == NOTEBOOKS


def test_stale_is_told_from_the_stored_notebook(stored, edit):
    assert not is_stale(LESSON)
    edit("course_utils/data/digits.py", "return 1", "return 3")
    assert is_stale(LESSON) and not is_stale(OTHER)
    LESSON.path.unlink()
    assert is_stale(LESSON)


def test_bands_do_not_count_while_they_are_measured(stored):
    cells = compose(LESSON).cells
    measuring, comparing = (fingerprint(LESSON, cells, {}, measuring) for measuring in (True, False))
    (stored / "bands.toml").write_text((stored / "bands.toml").read_text().replace("0.8", "0.7"))
    assert fingerprint(LESSON, cells, {}, True) == measuring
    assert fingerprint(LESSON, cells, {}) not in (measuring, comparing)


def test_order_of_parameters_and_tags_and_the_cell_that_installs_decide_nothing(stored):
    cells = compose(LESSON).cells
    cells[1].metadata["tags"] = ["a", "b"]
    now = fingerprint(LESSON, cells, {"A": 1, "B": 2})
    cells[1].metadata["tags"] = ["b", "a"]
    cells.insert(0, nbformat.v4.new_code_cell("import course_utils.data", metadata={"tags": ["set-up"]}))
    assert fingerprint(LESSON, cells, {"B": 2, "A": 1}) == now


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("from course_utils.data import load_words", ["data/words.py"]),
        ("from course_utils.data import words", ["data/words.py"]),
        ("from course_utils.data.words import load_words", ["data/words.py"]),
        ("import json, course_utils.data.words", ["data/words.py"]),
        ("import course_utils.data", ["data/__init__.py", "data/digits.py", "data/words.py", "errors.py"]),
        ("from course_utils.data import *", ["data/__init__.py", "data/digits.py", "data/words.py", "errors.py"]),
        ("if True:\n    %cd ..\n    from course_utils.data import load_words", ["data/words.py"]),
        ("from course_utils.nowhere import a", []),
        ("import other.course_utils, numpy", []),
        ("import course_tools.cli\nfrom course_tools.cli import app", []),
    ],
)
def test_imports_of_every_form_are_followed(course, code, files):
    found = imported_files([nbformat.v4.new_code_cell(code)])
    assert [str(file.relative_to(course / "course_utils")) for file in found] == ["__init__.py", *files]


@pytest.mark.parametrize("code", ["if SEED:\n    !ls\n%matplotlib inline", "if SEED: 1 +"])
def test_magics_and_mistakes_make_stale_and_nothing_else(stored, edit, code):
    edit(SOURCE, "1 + 1", code)
    assert stale() == [EXPERIMENT]


@pytest.mark.parametrize("notebook", all_notebooks(), ids=lambda notebook: notebook.key)
def test_no_real_notebook_hangs_on_the_tools(notebook):
    files = [file.relative_to(ROOT) for file in imported_files(compose(notebook, measured=False).cells)]
    assert {file.parts[0] for file in files} == {"course_utils"}
    assert {"notebook.py", "errors.py"} <= {file.name for file in files}
    everything = sum(1 for _ in (ROOT / "course_utils").rglob("*.py"))
    assert len(files) < 0.8 * everything, "names are followed through a package, so no notebook hangs on all modules"


def test_every_asset_is_named_by_some_module():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "course_utils").rglob("*.py")]
    named = {line.split()[0] for line in _assets_named_in(texts).splitlines()}
    assert {asset.name for asset in catalog.load_catalog().values() if asset.file} <= named
    assert _assets_named_in(['load("mnist_other")', 'load("mnis")', 'f"lite{variant}"']) == ""
    assert "mnist " in _assets_named_in(['f"mnis{letter}"'])
