"""The HTML pages: formulas without a network, set-up and solutions folded."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_tools.publish.offline_html import OfflineExporter, to_mathml


@pytest.fixture(scope="module")
def page():
    cells = [
        new_code_cell("import course_utils", metadata={"tags": ["set-up"]}),
        new_markdown_cell("Inline $h = M(x)$, `$not a formula$` and\n\n$$y = L(h)$$"),
        new_code_cell("answer = 42", metadata={"tags": ["solution"]}),
        new_code_cell("seen = True"),
    ]
    return OfflineExporter().from_notebook_node(new_notebook(cells=cells))[0]


def test_formulas_are_mathml(page):
    assert page.count("<math") == 2 and 'display="block"' in page
    assert "$not a formula$" in page


def test_styled_letters_differ_from_plain_ones():
    letters = re.findall("<mi>(.)</mi>", to_mathml(r"\mathcal X, \mathbb E, \mathbb R, X", display="inline"))
    assert letters == ["\N{MATHEMATICAL SCRIPT CAPITAL X}", "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL E}", "ℝ", "X"]


def test_names_of_functions_stand_apart_from_letters_but_not_from_brackets():
    assert 'rspace="0.167em">log</mo><mi>p</mi>' in to_mathml(r"p \log p", display="inline")
    assert 'rspace="0em">diag</mo><mo' in to_mathml(r"\operatorname{diag}(x)", display="inline")


def test_nothing_is_loaded_from_the_network(page):
    assert re.findall(r"""(?:src|href|import)\s*[=(]\s*["']https?:""", page) == []


def test_set_up_and_solutions_are_folded(page):
    folded = re.findall(r'<details class="folded"><summary>(.*?)</summary>(.*?)</details>', page, flags=re.DOTALL)
    assert [summary for summary, _ in folded] == ["Set-up", "Solution"]
    assert "answer" in folded[1][1] and "seen" not in folded[0][1] + folded[1][1]
