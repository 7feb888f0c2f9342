"""Folders of images, one subfolder for each class, as ``keras.utils.image_dataset_from_directory`` reads them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from PIL import Image

from course_utils.data.catalog import find_asset
from course_utils.data.emoji_names import load_emoji_names
from course_utils.data.openmoji import CODE_POINTS, draw_pictograms, expand_ranges
from course_utils.errors import CourseError
from course_utils.settings import cache_dir
from course_utils.whole_file import kept_in, replacing

MANIFEST = ".files"  # first line: what the folder was made of; then the names of its files
PART_OF = {"train": "train", "training": "train", "test": "test", "testing": "test"}  # folders of a split: no classes
PART_OF |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
HIDDEN = (".", "__MACOSX")  # what systems and archives leave behind


def load_openmoji_folder(labels: str = "objects", size: int = 128) -> Path:
    """Write OpenMoji pictograms as PNG files, one subfolder for each class, once.

    Parameters
    ----------
    labels : str
        ``"objects"``: 573 pictograms of the eight classes of `load_openmoji`;
        ``"categories"``: 1,372 pictograms of eight categories of Unicode.
    size : int
        Side of the images in pixels, at least 16.

    Returns
    -------
    pathlib.Path
        A folder in the cache, for example with ``animal/1F98A-fox-face.png``.

    Raises
    ------
    CourseError
        If `labels` is another word or `size` too small, or the disk does not take the files.

    References
    ----------
    OpenMoji, https://openmoji.org, CC BY-SA 4.0: name it wherever the images are shown.
    """
    emoji = load_emoji_names()
    if labels == "objects":
        names = {one.point: f"-{one.name}" for one in emoji}
        points = {name: expand_ranges(ranges) for name, ranges in CODE_POINTS.items()}
        rows = [(name, p, f"{p:X}{names.get(p, '')}") for name, group in points.items() for p in group]
    elif labels == "categories":
        rows = [(one.category, one.point, f"{one.point:X}-{one.name}") for one in emoji]
    else:
        raise CourseError(f'labels must be "objects" or "categories"; got {labels!r}.')

    def write(folder: Path) -> None:
        images = draw_pictograms([point for _, point, _ in rows], size)
        for (class_name, _, name), image in zip(rows, images, strict=True):
            (folder / class_name).mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / class_name / f"{name}.png")

    made_of = f"{find_asset('openmoji').sha256} {size} {rows}"
    return keep_folder(f"openmoji-{labels}-{size}", made_of, write)


def class_folders(folder: str | Path) -> dict[str, Path]:
    """Return the visible subfolders of a folder by name, at least two.

    Raises
    ------
    CourseError
        If the folder is missing, has fewer than two subfolders, or two that differ by case only.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CourseError(f"There is no folder {folder}; give one with a subfolder for each class.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN))
    if len(classes) < 2:
        raise CourseError(
            f"The folder {folder} has {len(classes)} subfolders; at least two classes, each in a"
            " subfolder of its own, are needed."
        )
    names = {}
    for path in classes:
        first = names.setdefault(path.name.lower(), path.name)
        if first != path.name:  # other systems know but one folder of that name
            raise CourseError(
                f"The folders {first} and {path.name} in {folder.name} differ by case only: make them one."
            )
    return {path.name: path for path in classes}


def visible_files(folder: Path) -> list[Path]:
    """Return all files under a folder that are not hidden, in alphabetical order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(HIDDEN) for part in path.relative_to(folder).parts)
    )


def printable(name: str) -> str:
    """Return a name of a file without line breaks and halves of characters, which no table takes."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def keep_folder(name: str, made_of: str, write: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache; write it anew unless all its files are there.

    Parameters
    ----------
    name : str
        Name of the folder.
    made_of : str
        Whatever decides its content; when this changes, the folder is written anew.
    write : callable
        Takes an empty folder and fills it. The result appears whole or not at all.

    Raises
    ------
    CourseError
        If the disk does not take the files.
    """
    images = cache_dir().absolute() / "images"
    target, key = images / name, hashlib.sha256(made_of.encode()).hexdigest()
    with kept_in(images, "Images"), FileLock(images / f".{name}.lock"):
        if not _is_whole(target, key):
            with replacing(target) as content:
                content.mkdir()
                write(content)
                (content / MANIFEST).write_text("\n".join([key, *_listing(content)]), encoding="utf-8")
    return target


def is_kept(folder: str | Path) -> bool:
    """Tell whether a folder is one that `keep_folder` wrote."""
    return Path(folder).absolute().parent == cache_dir().absolute() / "images"


def _is_whole(folder: Path, key: str) -> bool:
    try:
        return (folder / MANIFEST).read_text(encoding="utf-8").split("\n") == [key, *_listing(folder)]
    except OSError:
        return False


def _listing(folder: Path) -> list[str]:
    return [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in visible_files(folder)]
