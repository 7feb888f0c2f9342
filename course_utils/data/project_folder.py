"""The folder that a project leaves: it appears whole or not at all, and what an earlier run has left is kept."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.whole_file import replacing

CARD = "model_card.md"  # what tells such a folder from any other
OF_THE_COURSE = "# Model card: openmoji-objects-128\n"  # how the card of the course's own pictograms begins
MADE = {CARD, "model.keras", "predict.py", "pairs.csv", "report.html", "report.ipynb"}  # beside figures


@contextmanager
def project_folder(out: str | Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` at the end; after an error nothing is left of it.

    An earlier project there is kept beside it as ``OUT-1``, ``OUT-2`` and so on, which is told. Only one of the
    course's own pictograms to which nobody has added a file is replaced.

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
            if (out / CARD).is_file() and not _can_be_made_again(out):
                print(f"The earlier {out.name} is kept as {_keep(out)}.")
    except OSError as error:
        raise CourseError(
            f"{out.name} cannot be written ({error.strerror or error}): let OUT name another folder."
        ) from error


def earlier_projects(out: Path) -> list[Path]:
    """Return what is kept of earlier runs into a folder, the oldest first."""
    found = re.compile(re.escape(out.name) + r"-(\d+)")
    names = [(int(match[1]), path) for path in out.parent.iterdir() if (match := found.fullmatch(path.name))]
    return [path for _, path in sorted(names) if (path / CARD).is_file()]


def _can_be_made_again(folder: Path) -> bool:
    """Tell whether a folder holds the course's own pictograms, and no file that its run has not written."""
    added = [path for path in folder.iterdir() if path.name not in MADE and path.suffix != ".png"]
    return not added and (folder / CARD).read_text(encoding="utf-8").startswith(OF_THE_COURSE)


def _keep(folder: Path) -> str:
    """Rename a folder by the first number that is free, and return its new name."""
    for number in count(1):
        kept = folder.with_name(f"{folder.name}-{number}")
        if not kept.exists() and not kept.is_symlink():
            return folder.rename(kept).name


def predict_program(kind: str, **constants: object) -> str:
    """Return the text of ``predict.py`` for "images" or "texts", with its constants, such as ``CLASSES``, filled in."""
    text = Path(__file__).with_name(f"predict_{kind}.py").read_text(encoding="utf-8")
    for name, value in constants.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value!r}": line, text)
        if found != 1:
            raise CourseError(f"predict.py for {kind} has no constant {name}.")
    return text
