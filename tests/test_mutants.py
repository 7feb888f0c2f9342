"""Mutants: each applies to the source as it is; a mistake is noticed, a harmless change is not."""

import json

import pytest

from course_tools import mutants
from course_tools.mutants import Mutant, Outcome, read_mutants, run_mutants, write_outcomes
from course_utils.errors import CourseError


def test_every_mutant_finds_its_text_once():
    known = read_mutants()
    assert len(known) >= 25
    assert len({(mutant.file, mutant.before, mutant.after) for mutant in known}) == len(known)
    assert all(mutant.before != mutant.after for mutant in known)


def test_unknown_names_and_lost_texts_are_told(tmp_path, monkeypatch):
    with pytest.raises(CourseError, match="no mutant 'moon'; there are other_preprocessing"):
        read_mutants(["moon"])
    lost = tmp_path / "mutants.toml"
    lost.write_text('[a]\nfile = "README.md"\nbefore = "no such text"\nafter = ""\nteaches = ""\ncheck = ""\n')
    monkeypatch.setattr(mutants, "MUTANTS_PATH", lost)
    with pytest.raises(CourseError, match="looks for a text that is 0 times in README.md"):
        read_mutants()


def test_the_file_keeps_other_mutants(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = write_outcomes([Outcome("a", False, "x", 1.0), Outcome("b", False, "", 1.0)])
    write_outcomes([Outcome("b", False, "y", 2.0)])
    assert [(row["name"], row["found"]) for row in json.loads(path.read_text())] == [("a", "x"), ("b", "y")]
    path.write_bytes(b"\xff damaged")
    assert len(json.loads(write_outcomes([Outcome("c", False, "z", 3.0)]).read_text())) == 1


def test_a_mistake_is_noticed_and_a_harmless_change_is_not():
    file, check = "course_utils/whole_file.py", "tests/test_whole_file.py"
    planned = [
        Mutant("wrong", file, "FileNotFoundError, ValueError", "FileNotFoundError, KeyError", "", check),
        Mutant("harmless", file, "what is read of those that did not", "what is read of the others", "", check),
        Mutant("broken", file, "import json\n", "import jason\n", "", check),
    ]
    outcomes = {outcome.name: (outcome.passed, outcome.found) for outcome in run_mutants(planned, workers=2)}
    assert outcomes.pop("wrong") == (False, f"{check}::test_what_is_damaged_or_missing_reads_as_nothing[{{]")
    # Of the broken one no check has spoken: a mutant that cannot be imported proves nothing.
    assert outcomes == {check: (True, ""), "harmless": (True, ""), "broken": (False, "")}
