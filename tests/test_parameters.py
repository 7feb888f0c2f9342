"""Parameters of a run: what is typed before what a profile sets, each of the type of its default."""

import pytest

from course_tools import notebooks
from course_tools.notebooks import Notebook
from course_tools.parameters import checked, run_parameters
from course_utils.errors import CourseError


@pytest.fixture
def one(write_notebook, tmp_path, monkeypatch):
    """A notebook with three parameters and a file for the profile `smoke`."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    (tmp_path / "notebooks" / "profiles" / "01.smoke.yaml").write_text("PROFILE: smoke\nRATE: 1\n")
    path = write_notebook("01_one", parameters='PROFILE = "default"\nSEED = 0\nRATE = 0.5')
    return Notebook(path.rename(tmp_path / "notebooks" / path.name).stem)


@pytest.mark.parametrize(
    ("profile", "given", "sentence"),
    [
        ("default", {"SEDE": "3"}, "has no parameter 'SEDE'; it takes PROFILE, RATE, SEED"),
        ("default", {"SEED": "three"}, "SEED takes a value of type int, such as 0; got 'three'"),
        ("default", {"PROFILE": "full"}, "choose it with --profile"),
        ("quick", {}, "The profile 'quick' is unknown; choose one of smoke, default, full"),
        ("full", {}, "01_one has no profile 'full': there is no file profiles/01.full.yaml beside it"),
    ],
)
def test_bad_parameters_are_refused_by_name(one, profile, given, sentence):
    with pytest.raises(CourseError, match=sentence):
        run_parameters(one, profile, given)


@pytest.mark.parametrize("text", ["not: [closed", "just a word", "PROFILE: smoke\nRATTE: 3"])
def test_a_bad_file_of_a_profile_is_named(one, text):
    one.parameter_file("smoke").write_text(text)
    with pytest.raises(CourseError, match="01.smoke.yaml|has no parameter 'RATTE'"):
        run_parameters(one, "smoke", {})


def test_what_is_typed_goes_before_the_profile_and_takes_the_type_of_the_default(one):
    assert run_parameters(one, "default", {"SEED": "7", "RATE": "1"}) == {"SEED": 7, "RATE": 1.0}
    assert run_parameters(one, "smoke", {}) == {"PROFILE": "smoke", "RATE": 1.0}
    assert run_parameters(one, "smoke", {"RATE": "0.5"}) == {"PROFILE": "smoke"}  # the stored value, typed


DEFAULTS = {"SEED": 0, "RATE": 0.5, "SIZES": (1, 2), "NAMES": ["A"], "DRAW": True, "DEPTH": 3}


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("SEED", 0, 0),
        ("SEED", 2**32 - 1, 2**32 - 1),
        ("DEPTH", -1, -1),
        ("RATE", 1, 1.0),
        ("SIZES", [3], (3,)),
        ("NAMES", ["B", "C"], ["B", "C"]),
        ("DRAW", False, False),
    ],
)
def test_a_value_is_taken_as_one_of_the_type_of_the_default(tmp_path, name, value, taken):
    found = checked(tmp_path, DEFAULTS, name, value)
    assert found == taken and type(found) is type(DEFAULTS[name])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SEED", -1, "from 0 to 4294967295; got -1"),
        ("SEED", 2**32, "from 0 to 4294967295; got 4294967296"),
        ("SEED", True, "of type int, such as 0; got True"),
        ("SEED", 1.0, "of type int, such as 0; got 1.0"),
        ("RATE", True, "of type float, such as 0.5; got True"),
        ("SIZES", 3, "of type tuple"),
        ("NAMES", (1, 2), "of type list"),
        ("DRAW", 1, "of type bool, such as True; got 1"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, name, value, sentence):
    with pytest.raises(CourseError, match=sentence):
        checked(tmp_path, DEFAULTS, name, value)


def test_a_path_that_is_typed_begins_where_the_command_was_called(write_notebook, one, tmp_path, monkeypatch):
    parameters = 'PROFILE = "default"\nSEED = 0\nDATA = ""\nFOLDER = ""\nOUT = ""\nNAME = ""'
    write_notebook("01_one", parameters=parameters).rename(one.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = run_parameters(one, "default", {"DATA": "mine", "NAME": "mine"})
    assert given == {"DATA": str(tmp_path / "mine"), "NAME": "mine"}
    for name in ("DATA", "FOLDER", "OUT"):
        assert run_parameters(one, "default", {name: "3"}) == {name: str(tmp_path / "3")}
    assert run_parameters(one, "default", {"NAME": "3"}) == {"NAME": "3"}  # no number where the default is a text
    assert run_parameters(one, "default", {"DATA": "~/mine"}) == {"DATA": str(tmp_path / "home" / "mine")}


def test_a_notebook_that_is_missing_or_none_is_named(one):
    one.path.write_text("no notebook")
    with pytest.raises(CourseError, match="01_one.ipynb is no notebook that can be read"):
        run_parameters(one, "default", {})
    one.path.unlink()
    with pytest.raises(CourseError, match="01_one.ipynb is not there; make it by `course build 01`"):
        run_parameters(one, "default", {})
