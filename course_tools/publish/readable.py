"""A stored notebook as a page shows it: machinery folded, solutions behind one click, figures with their alt text."""

from itertools import groupby

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from course_tools.notebooks import tags_of

TITLE = "# @title "  # the first line of a folded cell, which Colab shows as a form


def readable(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook whose cells are folded, and carry their alt text, in the ways that myst-nb knows."""
    notebook.metadata.language_info["pygments_lexer"] = "ipython3"  # knows %%time
    cells = []
    for is_solution, run in groupby(notebook.cells, lambda cell: "solution" in tags_of(cell)):
        prepared = [_markdown(cell) if cell.cell_type == "markdown" else _code(cell) for cell in run]
        if is_solution:
            begin, end = "<details><summary>Solution</summary>", "</details>"
            prepared = [new_markdown_cell(begin), *prepared, new_markdown_cell(end)]
        cells += prepared
    notebook.cells = cells
    return notebook


def _markdown(cell: NotebookNode) -> NotebookNode:
    # A badge is an image of another host, and the page has buttons.
    lines = [line for line in cell.source.splitlines() if not line.startswith("[![Open in Colab]")]
    if "solution" in tags_of(cell):  # already folded, by itself
        lines = lines[1:-1]
    cell.source = "\n".join(lines)
    return cell


def _code(cell: NotebookNode) -> NotebookNode:
    tags, shown = tags_of(cell), {}
    if cell.source.startswith(TITLE):
        title, _, cell.source = cell.source.removeprefix(TITLE).partition("\n")
        if "solution" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
            shown = {"code_prompt_show": title, "code_prompt_hide": title}
    figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    alt = [figure.metadata.get("image/png", {}).get("alt", "") for figure in figures]
    cell.metadata["mystnb"] = shown | {"image": {"alt": " ".join(alt)}}
    return cell
