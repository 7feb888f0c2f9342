"""Sweeps: values as typed, every combination once, one table, and what fails is told."""

import json

import pandas as pd
import pytest
from rich.text import Text

from course_tools import notebooks
from course_tools.run import job as run
from course_tools.run import sweep
from course_tools.run.sweep import gather, parse_values, shown, summarise, summary_table, sweep_jobs
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import mean_and_interval

PARAMETERS = 'PROFILE = "default"\nSEED = 0\nRATE = 0.5\nBACKBONE = "A"\nNAMES = ["A", "B"]'
FIGURE = """
from pathlib import Path
from course_utils.evaluation import expectations
expectations.BANDS_PATH = Path({bands!r})
expect = expectations.Expectations({name!r}, PROFILE)
expect("score", SEED + 10 * len(BACKBONE), contrast=-1)
assert ({name!r}, SEED) != ("08_swept", 2), "this one fails"
"""


@pytest.fixture
def course(write_notebook, tmp_path, monkeypatch):
    """A course of two notebooks, whose figure is the seed and ten times the length of the backbone's name."""
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    # A band far away from every figure: in a sweep no run may be stopped by it.
    bands = tmp_path / "bands.toml"
    bands.write_text('["08_swept".default.bands.score]\nlow = 900\nhigh = 902\nmean = 901\nstd = 1\n')
    for name in ("08_swept", "09_swept"):
        (tmp_path / "notebooks" / "source" / f"{name}.py").touch()
        source = FIGURE.format(name=name, bands=str(bands))
        write_notebook(name, source, parameters=PARAMETERS).rename(tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    for module in (run, sweep):
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    return notebooks.all_notebooks()


@pytest.mark.parametrize(
    ("typed", "default", "values"),
    [
        ("0..3", 7, ["0", "1", "2", "3"]),
        ("-2..0,5", 7, ["-2", "-1", "0", "5"]),
        ("4", 7, ["4"]),
        ("4..4", 7, ["4"]),
        ("A, B", "C", ["A", "B"]),
        ("0..3", "a text may hold two points", ["0..3"]),
        ("0.1,0.5", 1.0, ["0.1", "0.5"]),
        ("['A','B'],['C']", ["A"], ["['A', 'B']", "['C']"]),
        ("['A','B']", ["A"], ["['A', 'B']"]),
    ],
)
def test_values_are_split_as_typed(typed, default, values):
    assert parse_values("NAME", typed, default) == values


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"SEDE": "1,2"}, "has no parameter 'SEDE'; it takes BACKBONE, NAMES, PROFILE, RATE, SEED"),
        ({"SEED": "1,two"}, "SEED takes a value of type int, such as 0; got 'two'"),
        ({"SEED": "9..0"}, r"The range 9\.\.0 of SEED is empty; write the smaller end first"),
        ({"SEED": "1,,2"}, "SEED has an empty value in '1,,2'"),
        ({"SEED": "0..3,2"}, "SEED has the value 2 twice"),
        ({"SEED": "0..999999999999"}, "has 1,000,000,000,000 values; accepted are at most 1,000"),
        ({"SEED": "0..99", "RATE": "1,2,3,4,5,6,7,8,9,10,11"}, "would take 2,200 runs; accepted are at most 1,000"),
        ({"RATE": "0..9"}, r"RATE takes a value of type float, such as 0\.5; got '0\.\.9'"),
        ({"NAMES": "A,B"}, r"NAMES takes a value of type list, such as \['A', 'B'\]; got 'A,B'"),
        ({"PROFILE": "smoke"}, "PROFILE is not typed with -p: choose it with --profile"),
    ],
)
def test_bad_values_are_told_in_a_sentence(course, given, sentence):
    with pytest.raises(CourseError, match=sentence):
        sweep_jobs(course, "default", given)


def test_a_thousand_runs_are_the_most(course):
    assert len(parse_values("SEED", "1..1000", 0)) == 1000
    assert len(sweep_jobs(course[:1], "default", {"SEED": "0..499", "RATE": "1,2"})) == 1000
    with pytest.raises(CourseError, match="has 1,001 values; accepted are at most 1,000"):
        parse_values("SEED", "0..1000", 0)
    with pytest.raises(CourseError, match="would take 1,002 runs"):
        sweep_jobs(course[:1], "default", {"SEED": "0..500", "RATE": "1,2"})


@pytest.mark.parametrize(
    ("value", "text"),
    [(["A", 1], "A+1"), ((2, 3), "2+3"), ("A", "A"), (0.5, 0.5), ({"a": 1}, "{'a': 1}"), (None, "None")],
)
def test_values_are_shown_as_one_word(value, text):
    assert shown(value) == text


def test_every_combination_is_one_job_with_files_of_its_own(course):
    jobs = sweep_jobs(course[:1], "default", {"SEED": "0..2", "BACKBONE": "a/b,A/B", "NAMES": "['A'],['A','C']"})
    assert len({json.dumps(job.parameters) for job in jobs}) == 12
    assert len({str(job.output).lower() for job in jobs}) == len({job.name for job in jobs}) == 12
    assert {job.output.parent for job in jobs} == {run.BUILD / "sweep" / "08_swept"}
    assert jobs[0].parameters == {"SEED": 0, "BACKBONE": "a/b", "NAMES": ["A"]}


def test_each_run_writes_a_folder_of_its_own(course, write_notebook):
    path = write_notebook("08_swept", "", parameters=PARAMETERS + '\nOUT = "../build/project"')
    paths = {course[0]: path}
    jobs = sweep_jobs(course[:1], "default", {"SEED": "0..2"}, paths)
    assert len({job.parameters["OUT"] for job in jobs}) == 3
    assert all(job.parameters["OUT"] == str(job.output.with_suffix("")) for job in jobs)
    with pytest.raises(CourseError, match="Several runs of this sweep would write the same folder; leave OUT out"):
        sweep_jobs(course[:1], "default", {"SEED": "0..2", "OUT": "mine"}, paths)
    assert len(sweep_jobs(course[:1], "default", {"OUT": "mine,yours"}, paths)) == 2


def test_a_sweep_ends_in_one_table_also_when_a_run_fails(course, call):
    words = "sweep", "08", "09", "-p", "SEED", "1..2", "-p", "BACKBONE", "BB"

    code, told, _ = call(*words)

    assert code == 1 and "08 BACKBONE=BB,SEED=2 failed" in told and "this one fails" in told
    table = pd.read_csv(run.BUILD / "sweep.csv")
    names = ["SEED", "BACKBONE"]
    assert list(table) == ["notebook", *names, "figure", "value", "contrast", "timing", "seconds"]
    rows = list(zip(table["notebook"], table["SEED"], table["BACKBONE"], table["value"], strict=False))
    assert rows == [("08_swept", 1, "BB", 21), ("09_swept", 1, "BB", 21), ("09_swept", 2, "BB", 22)]
    mean, half = mean_and_interval([21, 22])
    assert f"{mean:.3g} ± {half:.2g}" in told
    assert "3 figures of 3 runs, 1 failed" in told

    # Resumed: only the failed run is executed again, and the table is as whole as before.
    code, told, _ = call(*words)
    assert code == 1 and "08 BACKBONE=BB,SEED=2: failed" in told and ": passed" not in told
    assert pd.read_csv(run.BUILD / "sweep.csv").equals(table)


def test_the_table_takes_means_over_the_seeds_alone(course):
    jobs = sweep_jobs(course[:1], "default", {"SEED": "0..2", "BACKBONE": "A,B"})
    values = [1, 5, 2, 6, 3, 10]  # A and B of the first seed, of the second, of the third
    record = {"name": "score", "contrast": None, "timing": False}
    results = [{"status": "passed", "seconds": 1.0, "records": [record | {"value": value}]} for value in values]
    summary = summarise(gather(jobs, results, ["SEED", "BACKBONE"])).set_index("BACKBONE")
    mean, half = mean_and_interval([1, 2, 3])
    assert summary.loc["A", ["mean", "half_width", "n"]].tolist() == pytest.approx([mean, half, 3])
    assert summary.loc["B", ["mean", "n"]].tolist() == [7, 3]
    cells = list(summary_table(summary.reset_index()).columns[-2].cells)
    assert cells == [f"{mean:.3g} ± {half:.2g}", "7 ± 6.6"]


def test_the_table_keeps_the_order_of_the_sweep_and_shows_brackets(course):
    jobs = sweep_jobs(course[:1], "default", {"BACKBONE": "[red],B,A"})
    record = {"name": "score", "value": 0.25, "contrast": None, "timing": False}
    results = [{"status": "passed", "seconds": 1.0, "records": [record]} for _ in jobs]
    table = summary_table(summarise(gather(jobs, results, ["BACKBONE"])))
    cells = [Text.from_markup(cell).plain for cell in table.columns[1].cells]
    assert cells == ["[red]", "B", "A"]


def test_one_seed_has_no_interval_and_single_values_stand_in_the_title(course):
    jobs = sweep_jobs(course[:1], "default", {"RATE": "0.5", "SEED": "4", "NAMES": "['A'],['B','C']"})
    record = {"name": "score", "value": 0.25, "contrast": None, "timing": False}
    results = [{"status": "passed", "seconds": 1.0, "records": [record]} for _ in jobs]
    table = summary_table(summarise(gather(jobs, results, ["RATE", "SEED", "NAMES"])))
    assert table.title == "RATE=0.5"
    assert [column.header for column in table.columns] == ["Notebook", "NAMES", "Figure", "Mean ± 95%", "n"]
    assert list(table.columns[1].cells) == ["A", "B+C"] and list(table.columns[3].cells) == ["0.25", "0.25"]


def test_a_profile_sets_what_its_file_names_and_what_is_given_goes_first(course):
    folder = course[0].path.parent / "profiles"
    folder.mkdir()
    (folder / "08.smoke.yaml").write_text("PROFILE: smoke\nRATE: 0.1\nSEED: 7\n")
    first, _ = sweep_jobs(course[:1], "smoke", {"SEED": "0,1"})
    assert first.parameters == {"PROFILE": "smoke", "RATE": 0.1, "SEED": 0} and first.name == "08 PROFILE=smoke,SEED=0"
    with pytest.raises(CourseError, match="09_swept has no profile 'smoke'"):
        sweep_jobs(course, "smoke", {"SEED": "0,1"})


def test_nothing_passed_leaves_an_empty_table(course):
    jobs = sweep_jobs(course, "default", {"SEED": "0..1"})
    table = gather(jobs, [{"status": "failed", "seconds": 0.0, "records": []} for _ in jobs], ["SEED"])
    assert len(table) == 0 and summary_table(summarise(table)).row_count == 0
    assert list(summarise(table)) == ["notebook", "figure", "mean", "half_width", "n"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["01"], "A sweep needs at least one parameter with its values, such as -p SEED 0..9."),
        (["01", "-p", "SEED", "1", "-p", "SEED", "2"], "-p SEED is given twice"),
        (["77", "-p", "SEED", "1"], "There is no notebook '77'"),
    ],
)
def test_the_command_line_tells_bad_sweeps_in_one_line(words, sentence, call):
    code, _, error = call("sweep", *words)
    assert code == 2 and sentence in error and error.strip().count("\n") == 0
