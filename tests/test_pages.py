"""The pages in `docs/`: every figure they quote is a measured one, every answer leads to a notebook that exists."""

import re

import pytest

from course_tools.build.compose import PLACEHOLDER, page_with_figures
from course_utils.errors import CourseError
from course_utils.settings import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
QUESTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
ANSWERS = QUESTION.findall((ROOT / "docs" / "faq.md").read_text(encoding="utf-8"))


def test_a_page_quotes_a_figure_by_its_notebook(course):
    assert page_with_figures("It is {{experiments/02_other.accuracy.mean:.2f}}.", "docs/a.md") == "It is 0.90."


@pytest.mark.parametrize("quoted", ["accuracy.mean", "02_other.accuracy.mean", "01_trial.accuracy.median"])
def test_a_figure_without_its_notebook_or_never_measured_is_refused(course, quoted):
    with pytest.raises(CourseError, match=rf"docs/a.md quotes \{{\{{{quoted}\}}\}}, which has not been measured"):
        page_with_figures(f"It is {{{{{quoted}}}}}.", "docs/a.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_figures_of_a_page_are_measured_and_its_notebooks_exist(page):
    text = page.read_text(encoding="utf-8")
    assert "{{" not in page_with_figures(text, page.name)
    missing = [link for link in re.findall(r"\]\((\.\./[^)#]+)", text) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize(("question", "answer"), ANSWERS, ids=[question for question, _ in ANSWERS])
def test_an_answer_has_a_measured_figure_and_leads_to_its_notebook(question, answer):
    assert question.endswith("?") and "](../notebooks/" in answer
    assert PLACEHOLDER.search(answer) or "licence" in answer
