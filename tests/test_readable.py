"""A stored notebook as its page shows it: what is folded, and how, and what each figure says."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_tools.publish.readable import readable


def png(alt=None):
    more = {"image/png": {"alt": alt}} if alt else {}
    return new_output("display_data", {"image/png": "AA=="}, metadata=more)


def shown(*cells):
    return readable(new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}}))


def tagged(make, source, *tags, **more):
    return make(source, metadata={"tags": list(tags)}, **more)


def test_all_cells_of_a_solution_lie_behind_one_click():
    code = tagged(new_code_cell, "# @title Solution\n1 + 1", "solution")
    prose = tagged(new_markdown_cell, "<details>\n\nIt was two.\n\n</details>", "solution")
    page = shown(new_markdown_cell("Before\nit"), code, prose, new_markdown_cell("After"))
    begin, end = "<details><summary>Solution</summary>", "</details>"
    assert [cell.source for cell in page.cells] == ["Before\nit", begin, "1 + 1", "\nIt was two.\n", end, "After"]
    assert [cell.cell_type for cell in page.cells] == ["markdown"] * 2 + ["code"] + ["markdown"] * 3
    assert page.cells[2].metadata["tags"] == ["solution"]  # it is folded with the others, not once more
    assert page.metadata.language_info == {"name": "python", "pygments_lexer": "ipython3"}


def test_two_solutions_have_a_fold_each():
    solution = tagged(new_code_cell, "1", "solution")
    page = shown(solution, new_markdown_cell("Next"), tagged(new_code_cell, "2", "solution"))
    assert [cell.source.partition(">")[0] for cell in page.cells] == [
        *("<details", "1", "</details", "Next", "<details", "2", "</details")
    ]


def test_machinery_is_folded_under_its_title_and_other_code_is_not():
    fold, plain = tagged(new_code_cell, "# @title The machinery\na = 1\nb = 2", "fold"), new_code_cell("c = 3")
    folded, plain = shown(fold, plain).cells
    assert folded.source == "a = 1\nb = 2" and folded.metadata["tags"] == ["fold", "hide-input"]
    assert folded.metadata["mystnb"]["code_prompt_show"] == "The machinery"
    assert folded.metadata["mystnb"]["code_prompt_hide"] == "The machinery"
    assert plain.source == "c = 3" and plain.metadata == {"mystnb": {"image": {"alt": ""}}}


@pytest.mark.parametrize(
    "outputs, alt",
    [([png("Accuracy rises")], "Accuracy rises"), ([png()], ""), ([png("Left"), png("Right")], "Left Right")],
)
def test_a_figure_says_what_its_label_said(outputs, alt):
    text = new_output("stream", text="epoch 1"), new_output("display_data", {"text/plain": "1"})
    (cell,) = shown(new_code_cell("plot()", outputs=[*text, *outputs])).cells
    assert cell.metadata["mystnb"]["image"] == {"alt": alt}


def test_the_badge_of_another_host_is_left_out():
    (cell,) = shown(new_markdown_cell("# 01 · A title\n\n[![Open in Colab](https://a/b.svg)](https://c)\n\nText")).cells
    assert cell.source == "# 01 · A title\n\n\nText"
