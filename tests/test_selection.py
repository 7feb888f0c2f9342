"""Which notebooks a command means by numbers and names, and where the files of each are."""

import pytest

from course_tools.notebooks import Notebook, all_notebooks, select_notebooks, tags_of
from course_utils.errors import CourseError

LESSON, BACKING, ALONE = Notebook("01_trial"), Notebook("01_trial", True), Notebook("02_other", True)


def test_each_storey_has_its_notebooks_and_a_lesson_stands_before_its_experiment(course):
    (course / "notebooks" / "source" / "of_no_lesson.py").touch()
    assert all_notebooks("lessons") == [LESSON] and all_notebooks("experiments") == [BACKING, ALONE]
    assert all_notebooks() == all_notebooks("all") == [LESSON, BACKING, ALONE]


def test_an_experiment_stands_in_for_a_lesson_that_is_not_there(course):
    assert select_notebooks() == select_notebooks([]) == [LESSON, ALONE]
    assert select_notebooks(storey="experiments") == [BACKING, ALONE]
    assert select_notebooks(storey="all") == [LESSON, BACKING, ALONE]


@pytest.mark.parametrize(
    "wanted, found",
    [
        (["1"], [LESSON]),
        (["01"], [LESSON]),
        (["2"], [ALONE]),
        (["02_other"], [ALONE]),
        (["experiments/02_other.ipynb"], [ALONE]),
        (["02", "1", "01_trial"], [LESSON, ALONE]),  # each once, in order
    ],
)
def test_a_number_and_a_whole_name_mean_a_notebook(course, wanted, found):
    assert select_notebooks(wanted) == found
    assert select_notebooks(["1"], "experiments") == [BACKING]
    assert select_notebooks(["1"], "all") == [LESSON, BACKING]


def test_what_is_no_notebook_is_refused_with_what_is_accepted(course):
    for wanted in ("3", "03_trial", "001", "trial", ""):
        with pytest.raises(CourseError, match=f"There is no notebook '{wanted}'; accepted are 01, 02, or a whole name"):
            select_notebooks(["1", wanted])


def test_a_notebook_knows_its_files(course):
    for notebook, key in ((LESSON, "01_trial"), (BACKING, "experiments/01_trial")):
        assert notebook.key == key and notebook.number == "01"
        assert notebook.source == course / "notebooks" / "source" / f"{key}.py"
        assert notebook.path == course / "notebooks" / f"{key}.ipynb"
        assert notebook.parameter_file("full") == notebook.path.parent / "profiles" / "01.full.yaml"
    assert tags_of({"metadata": {"tags": ["fold"]}}) == ["fold"] and tags_of({"metadata": {}}) == []
