"""The folder that a project leaves: it appears whole or not at all, and replaces only one of its own kind."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.whole_file import replacing

CARD = "model_card.md"  # what tells such a folder from any other


@contextmanager
def project_folder(out: str | Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` at the end; after an error nothing is left of it.

    Raises
    ------
    CourseError
        If `out` is a file, or a folder that is not empty and has no model card of an earlier run, or cannot be made.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and not (out / CARD).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise CourseError(f"{out.name} exists and was not written by a project: let OUT name a new folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as home:
            home.mkdir()
            yield home
    except OSError as error:
        raise CourseError(
            f"{out.name} cannot be written ({error.strerror or error}): let OUT name another folder."
        ) from error


def predict_program(kind: str, **constants: object) -> str:
    """Return the text of ``predict.py`` for "images" or "texts", with its constants, such as ``CLASSES``, filled in."""
    text = Path(__file__).with_name(f"predict_{kind}.py").read_text(encoding="utf-8")
    for name, value in constants.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value!r}": line, text)
        if found != 1:
            raise CourseError(f"predict.py for {kind} has no constant {name}.")
    return text
