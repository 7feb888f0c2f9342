"""A folder of images of any kind, looked at file by file; small upright copies are kept, never all in memory."""

import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from course_utils.data.image_folders import PART_OF, class_folders, keep_folder, printable, visible_files
from course_utils.data.inspection import SIDE
from course_utils.data.photos import read_upright
from course_utils.errors import CourseError

SHOWN = 3  # names in a sentence
FACTS = ["width", "height", "format"]
PROGRESS_AFTER_SECONDS = 3
VERSION = 1  # of what is kept: raise it when the copies or the table change


def read_image_folder(folder: Path, size: int) -> tuple[pd.DataFrame, np.ndarray, dict[str, str]]:
    """Read all images of a folder, and keep copies of ``size`` by ``size`` pixels, RGB and upright.

    Parameters
    ----------
    folder : pathlib.Path
        A subfolder for each class; or ``train``, ``test`` and perhaps ``val``, each with these subfolders.
    size : int
        Height and width of the copies in pixels.

    Returns
    -------
    table : DataFrame
        A row for each image: ``file`` (name in the folder), ``x`` (path of the copy), ``label``, ``part`` (empty where
        the folder is not split), ``group`` (the subfolder of a class, or empty), width, height, format, and
        ``content``, equal for equal pixels.
    small : ndarray of uint8, shape (n, 16, 16, 3)
    told : dict of str to str
        Sentences, each under the name of what it tells: what could not be used, and why.

    Raises
    ------
    CourseError
        If the folder is missing, has fewer than two classes, or only one of them has images.
    """
    files, labels, told = _files_with_labels(folder)
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file, *_ in files]
    made_of = f"{VERSION} {size} {facts}"
    address = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    kept = keep_folder(f"project-{address}-{size}", made_of, lambda copies: _copy(folder, files, size, copies))
    table = pd.read_json(kept / "table.json", orient="records", dtype=False, lines=True)
    if table.empty:
        raise CourseError(f"No file in the classes of {folder.name} can be read as an image.")
    table["x"] = [str(kept / f"{number:06d}.png") for number in table.pop("number")]
    unreadable = (kept / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    if unreadable:
        told["unreadable files"] = f"{len(unreadable)} files are no images that can be read: {named(unreadable)}."
    if lost := sorted(labels - set(table["label"])):
        told["lost classes"] = f"{len(lost)} classes have no image that can be read, and are left out: {named(lost)}."
    return table, np.load(kept / "small.npy"), told


def named(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return "; ".join(names[:SHOWN]) + (f"; {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def name_of_source(file: str) -> str:
    """Return the name of a file up to its last ``_`` or ``-``: what images of one person or scene often share."""
    return re.sub(r"[_-][^_-]*$", "", Path(file).stem)


def _files_with_labels(folder: Path) -> tuple[list[tuple[Path, str, str, str]], set[str], dict[str, str]]:
    """Return (file, part, label, group) of each file in a class, all labels, and sentences about the others."""
    top = class_folders(folder)
    parts = {name: PART_OF.get(name.lower(), "") for name in top}
    is_split = "train" in parts.values()
    told, files, linked, labels = {}, [], [], set()
    loose = [file for file in visible_files(folder) if file.parent == folder]
    if is_split and (others := [name for name, part in parts.items() if not part]):
        told["other folders"] = f"The folder is split; beside its parts, these are left out: {named(others)}."
    for name, path in top.items() if is_split else [("", folder)]:
        if is_split and not parts[name]:
            continue
        try:
            classes = class_folders(path)
        except CourseError:
            if parts[name] == "train" or not is_split:
                raise
            told[f"part {name}"] = f"{name} has no classes in subfolders, so it has no labels: it is left out."
            continue
        loose += [file for file in visible_files(path) if file.parent == path and is_split]
        for label, inside in classes.items():
            labels.add(printable(label))
            linked += [path.name for path in inside.rglob("*") if path.is_symlink() and path.is_dir()]
            for file in visible_files(inside):
                group = "/".join(file.relative_to(inside).parts[:-1])
                files.append((file, parts.get(name, ""), label, group))
    if loose:
        told["loose files"] = f"{len(loose)} files lie in no class: {named([printable(file.name) for file in loose])}."
    if linked:
        told["linked folders"] = f"{len(linked)} linked folders inside of classes are not followed: {named(linked)}."
    return files, labels, told


def _copy(folder: Path, files: list[tuple[Path, str, str, str]], size: int, copies: Path) -> None:
    """Write a small copy of each image, the table, and the names of files that are no image."""
    rows, small, unreadable = [], [], []
    shown = {"leave": False, "delay": PROGRESS_AFTER_SECONDS, "mininterval": 1, "file": sys.stdout, "unit": "file"}
    for file, part, label, group in tqdm(files, "images", **shown):
        name = printable(file.relative_to(folder).as_posix())
        try:
            image = read_upright(file)
        except CourseError:
            unreadable.append(name)
            continue
        row = {"number": len(rows), "file": name, "label": printable(label), "part": part, "group": printable(group)}
        row |= {"width": image.width, "height": image.height, "format": file.suffix.lower()}
        content = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        rows.append(row | {"content": content})
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        image.save(copies / f"{row['number']:06d}.png", compress_level=1)
        small.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
    table = pd.DataFrame(rows, columns=["number", "file", "label", "part", "group", *FACTS, "content"])
    table.to_json(copies / "table.json", orient="records", lines=True)
    np.save(copies / "small.npy", np.array(small, np.uint8).reshape(-1, SIDE, SIDE, 3))
    (copies / "unreadable.txt").write_text("\n".join(unreadable), encoding="utf-8")
