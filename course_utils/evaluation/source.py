"""Show the real source of a function in a notebook, so that text and code cannot drift apart."""

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from IPython.display import Markdown, display

from course_utils.errors import CourseError
from course_utils.settings import ROOT


def show_source(*functions: Callable | type) -> None:
    """Display the source of functions or classes, highlighted, with the file of the course it is in.

    The output is Markdown: JupyterLab, nbconvert and Colab colour it in their own theme, and it does
    not change with the version of a highlighter.

    Parameters
    ----------
    *functions : function, method or class
        One or more objects written in Python.

    Raises
    ------
    CourseError
        For an object without Python source (a built-in, a partial, an instance), or without any object.
    """
    if not functions:
        raise CourseError("show_source() was given nothing; accepted are one or more functions or classes.")
    for text in [_as_markdown(function) for function in functions]:
        display(Markdown(text))


def _as_markdown(function: Callable | type) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        file = Path(inspect.getsourcefile(inspect.unwrap(function))).resolve()
    except (TypeError, OSError):
        raise CourseError(
            f"{function!r} has no Python source; accepted are functions and classes written in Python."
        ) from None
    # A fence must be longer than any run of backticks inside it.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
    package = ROOT / "course_utils"
    caption = f"`{file.relative_to(ROOT).as_posix()}`\n\n" if file.is_relative_to(package) else ""
    return f"{caption}{fence}python\n{source.rstrip()}\n{fence}"
