"""The reader's own data of any kind, looked at and split: a folder of images, one with parts, or a CSV of texts."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from course_utils.data import project_checks
from course_utils.data.dataset import PARTS
from course_utils.data.image_folders import keep_folder
from course_utils.data.inspection import balance
from course_utils.data.project_images import name_of_source, read_image_folder
from course_utils.data.project_texts import read_text_file
from course_utils.errors import CourseError, whole_number


@dataclass(frozen=True, eq=False)
class Project:
    """What a folder or a CSV file holds, what was found, and which sample is in which part.

    ``parts["train"]`` is a table: ``file`` (its name, or the number of a row), ``x`` (path of a copy, or text),
    ``label``, ``y`` (class number) and ``group``. ``folder`` has the images as Keras reads them, in the order of the
    tables; it is None for texts, which come from a ``column``. ``pairs`` names what is there twice or nearly so:
    ``finding``, ``file`` and ``other``. The last of the ``findings`` is the split.
    """

    kind: str  # "images" or "texts"
    class_names: list[str]
    parts: dict[str, pd.DataFrame]
    findings: list[str]
    pairs: pd.DataFrame
    folder: Path | None = None
    column: str = ""  # of the texts

    def __str__(self) -> str:
        return "\n".join(f"- {sentence}" for sentence in self.findings)


def look_at(
    data: str | Path, size: int = 96, text: str = "", label: str = "", group: str = "", seed: int = 0
) -> Project:
    """Look at a data set, say what was found, and split it; nothing of it is changed.

    Parameters
    ----------
    data : str or pathlib.Path
        A folder of images with a subfolder for each class; or with ``train``, ``test``, ``val``, each with these
        subfolders; or a CSV file.
    size : int
        Height and width of the images in pixels.
    text, label : str
        Columns of a CSV file; empty: they are guessed, and the guess is told.
    group : str
        What belongs together stays in one part. Of a CSV file a column; of a folder ``"name"`` takes the name of a
        file up to its last ``_`` or ``-``. Empty: subfolders of a class, or a column such as ``document``.
    seed : int
        Seed of the split: 60% training, 20% validation, 20% test, where the data are not split already.

    Returns
    -------
    Project

    Raises
    ------
    CourseError
        If there is no such file or folder, or it has no two classes with five samples (or groups) each.
    """
    path, size = Path(data).expanduser().absolute(), whole_number("size", size, 32)
    kind, small, column = "images" if path.is_dir() else "texts", None, ""
    if kind == "texts":
        table, told, column = read_text_file(path, text, label, group)
    elif group not in ("", "name"):
        raise CourseError(f'For a folder of images GROUP is "name", or empty; got {group!r}.')
    else:
        table, small, told = read_image_folder(path, size)
        table["group"] = table["file"].map(name_of_source) if group else table["group"]
    is_split = (table["part"] != "").any()
    table, small, copies, pairs = project_checks.without_copies(table, small)
    table, near, near_pairs = project_checks.with_groups(table, small, bool(group))
    table, rare = project_checks.without_rare_classes(table)
    told |= copies | near | rare | project_checks.leaks(table, kind)
    told |= project_checks.not_found(told, kind, is_split)
    table, cut = project_checks.with_parts(table, seed)
    names = sorted(table["label"].unique())
    table = table.assign(y=table["label"].map(names.index)).sort_values(["y", "x"] if kind == "images" else ["y"])
    parts = {part: table[table["part"] == part].reset_index(drop=True) for part in PARTS}
    findings = [f"{len(table)} {kind} can be used. {balance(table['label'])}", *(told | cut).values()]
    pairs = pd.concat([pairs, near_pairs], ignore_index=True)
    folder = _folder(path, parts, size) if kind == "images" else None
    return Project(kind, names, parts, findings, pairs, folder, column)


def _folder(data: Path, parts: dict[str, pd.DataFrame], size: int) -> Path:
    """Return a folder of the cache with ``train/cat/000123.png`` and so on."""

    def write(target: Path) -> None:
        for part, table in parts.items():
            for x, label in zip(table["x"], table["label"], strict=True):
                (target / part / label).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(x, target / part / label / Path(x).name)

    made_of = "\n".join(table[["x", "label", "content"]].to_csv() for table in parts.values())
    # Other settings of one folder stand beside each other, so that two runs at once do not take each other's images.
    address = hashlib.sha256(f"{data} {made_of}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return keep_folder(f"project-parts-{size}-{address}", made_of, write)
