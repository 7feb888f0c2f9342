"""The notebooks of the course, in two storeys: lessons, and below them the experiments that back them."""

from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.settings import ROOT


@dataclass(frozen=True, order=True)
class Notebook:
    """One notebook of the course, such as the lesson ``02_feature_extraction`` or the experiment of that name."""

    name: str
    is_experiment: bool = False

    @property
    def key(self) -> str:
        """What names it in files and tables: ``02_feature_extraction`` or ``experiments/02_feature_extraction``."""
        return f"experiments/{self.name}" if self.is_experiment else self.name

    @property
    def number(self) -> str:
        """The two digits that the name starts with."""
        return self.name[:2]

    @property
    def source(self) -> Path:
        """The py:percent script, the only edited form."""
        return ROOT / "notebooks" / "source" / f"{self.key}.py"

    @property
    def path(self) -> Path:
        """The notebook with its outputs, built from the source."""
        return ROOT / "notebooks" / f"{self.key}.ipynb"

    def parameter_file(self, profile: str) -> Path:
        """Return the papermill parameter file of a profile, such as ``profiles/02.smoke.yaml`` beside the notebook."""
        return self.path.parent / "profiles" / f"{self.number}.{profile}.yaml"


def tags_of(cell: dict) -> list[str]:
    """Return the tags of a cell, as nbformat or JSON reads it."""
    return cell["metadata"].get("tags", [])


def all_notebooks(storey: str = "all") -> list[Notebook]:
    """Return the notebooks of a storey in order, as their sources name them; a lesson stands before its experiment."""
    folder = ROOT / "notebooks" / "source"
    lessons = [Notebook(path.stem) for path in folder.glob("[0-9][0-9]_*.py")]
    experiments = [Notebook(path.stem, True) for path in folder.glob("experiments/[0-9][0-9]_*.py")]
    return sorted({"lessons": lessons, "experiments": experiments, "all": lessons + experiments}[storey])


def select_notebooks(numbers: list[str] | None = None, storey: str = "lessons") -> list[Notebook]:
    """Return the notebooks of a storey with these numbers (``"2"``, ``"02"`` or a whole name); all when none are named.

    While a number has no lesson yet, its experiment stands in for it.
    """
    notebooks = all_notebooks(storey)
    if storey == "lessons":
        taught = {notebook.number for notebook in notebooks}
        notebooks = sorted(notebooks + [other for other in all_notebooks("experiments") if other.number not in taught])
    chosen = {notebook for wanted in numbers or [] for notebook in _named(wanted, notebooks)}
    return sorted(chosen) if numbers else notebooks


def _named(wanted: str, notebooks: list[Notebook]) -> list[Notebook]:
    name = wanted.removeprefix("experiments/").removesuffix(".ipynb")
    found = [notebook for notebook in notebooks if name.zfill(2) == notebook.number or name == notebook.name]
    if not found:
        known = dict.fromkeys(notebook.number for notebook in notebooks)
        raise CourseError(f"There is no notebook {wanted!r}; accepted are {', '.join(known)}, or a whole name.")
    return found
