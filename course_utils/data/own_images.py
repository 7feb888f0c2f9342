"""The reader's own images, as cameras and web sites leave them, made ready for Keras."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

from course_utils.data.image_folders import PART_OF, class_folders, keep_folder, printable, visible_files
from course_utils.data.photos import read_upright
from course_utils.errors import CourseError

LONGEST_SIDE = 512  # pixels; a network of this course sees 224 at most
NAME = 40  # characters of a long name that are kept; a file's name has room for 255 bytes
SHOWN = 5  # names of files with the same fault
REPORT = ".report"


def clean_image_folder(folder: str | Path) -> Path:
    """Copy the images of a folder as upright RGB files that Keras can read, and print what became of each file.

    ``image_dataset_from_directory`` ignores the orientation that a camera notes, skips WebP and
    TIFF without a word, loses transparency, and stops at the first damaged file. The copies are
    PNG with the longer side at most 512 pixels. Of several copies of one image the first is taken.
    The folder itself is not touched.

    Parameters
    ----------
    folder : str or pathlib.Path
        For example ``my_images`` with ``my_images/cat/1.jpg``, ``my_images/dog/7.webp``. Images in
        subfolders of a class count; hidden files do not.

    Returns
    -------
    pathlib.Path
        A folder in the cache with the same classes.

    Raises
    ------
    CourseError
        If the folder is missing, has fewer than two subfolders, is split into train and test already, or has a
        class without any image.
    """
    folder = Path(folder).expanduser().absolute()
    classes = class_folders(folder)
    if {name.lower() for name in classes} <= PART_OF.keys():
        raise CourseError(
            f"The folder {folder} is already split into {', '.join(classes)}, and these are no classes: give one of"
            " these folders, or one folder with a subfolder for each class."
        )
    loose = [file for file in visible_files(folder) if file.parent == folder]
    inside = [file for path in classes.values() for file in visible_files(path)]  # also of a linked class
    files = sorted(loose + inside)
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    address = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    target = keep_folder(
        f"{folder.name[:NAME]}-{address}", f"{facts}", lambda copies: _copy(folder, list(classes), files, copies)
    )
    print((target / REPORT).read_text(encoding="utf-8"))
    return target


def _copy(folder: Path, classes: list[str], files: list[Path], copies: Path) -> None:
    """Write each readable image once, and the report."""
    for name in classes:
        (copies / name).mkdir()
    kept, passed_over, seen = [], defaultdict(list), {}
    for file in files:
        name = file.relative_to(folder)
        if len(name.parts) == 1:
            passed_over["in no class"].append(name)
            continue
        try:
            image = read_upright(file)
        except CourseError as error:
            passed_over["too many bits" if "bits" in str(error) else "no image that can be read"].append(name)
            continue
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        first = seen.setdefault((image.size, hashlib.sha256(image.tobytes()).digest()), name)
        if first is not name:  # else one copy might be trained on and the other tested
            where = "the same class" if first.parts[0] == name.parts[0] else "another class"
            passed_over[f"copies of an image of {where}"].append(f"{name} = {first}")
            continue
        copy = "__".join(name.with_suffix("").parts[1:]) + f"{name.suffix.replace('.', '_')}.png"
        image.save(copies / name.parts[0] / _short(printable(copy)), compress_level=1)
        kept.append(name)
    for missing in sorted(set(classes) - {name.parts[0] for name in kept}):
        raise CourseError(f"The class {missing} in {folder} has no image that can be read.")
    report = "\n".join(map(printable, _report(kept, passed_over)))
    (copies / REPORT).write_text(report, encoding="utf-8")


def _short(name: str) -> str:
    """Return a name of a file that every disk takes: of a long one the end, after a hash of all."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return name if len(name.encode()) <= 5 * NAME else f"{digest}-{name[-NAME:]}"


def _report(kept: list[Path], passed_over: dict[str, list]) -> list[str]:
    classes = Counter(name.parts[0] for name in kept)
    lines = [f"{len(kept)} images of {len(classes)} classes: " + ", ".join(f"{n} {c}" for c, n in classes.items())]
    if deep := sum(len(name.parts) > 2 for name in kept):
        lines.append(f"{deep} of them lie in subfolders of their class, which a split does not keep together.")
    for reason, names in passed_over.items():
        more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
        lines.append(f"{len(names)} passed over, {reason}: " + "; ".join([*map(str, names[:SHOWN]), *more]))
    return lines
