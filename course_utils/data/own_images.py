"""The reader's own images, as cameras and web sites leave them, made ready for Keras."""

import hashlib
from collections import Counter
from pathlib import Path

from course_utils.data.image_folders import class_folders, keep_folder, visible_files
from course_utils.data.photos import read_upright
from course_utils.errors import CourseError

LONGEST_SIDE = 512  # pixels; a network of this course sees 224 at most
REPORT = ".report"


def clean_image_folder(folder: str | Path) -> Path:
    """Copy the images of a folder as upright RGB files that Keras can read, and print what became of each file.

    ``image_dataset_from_directory`` ignores the orientation that a camera notes, skips WebP and
    TIFF without a word, loses transparency, and stops at the first damaged file. The copies are
    PNG with the longer side at most 512 pixels. The folder itself is not touched.

    Parameters
    ----------
    folder : str or pathlib.Path
        For example ``my_images`` with ``my_images/cat/1.jpg``, ``my_images/dog/7.webp``. Hidden
        files do not count.

    Returns
    -------
    pathlib.Path
        A folder in the cache with the same classes.

    Raises
    ------
    CourseError
        If the folder is missing, has fewer than two subfolders, or a class without any image.
    """
    folder = Path(folder).expanduser().absolute()
    classes = class_folders(folder)
    files = visible_files(folder)
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    address = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    target = keep_folder(
        f"{folder.name}-{address}", f"{facts}", lambda copies: _copy(folder, list(classes), files, copies)
    )
    print((target / REPORT).read_text(encoding="utf-8"))
    return target


def _copy(folder: Path, classes: list[str], files: list[Path], copies: Path) -> None:
    """Write a copy of each readable image, and the report."""
    for name in classes:
        (copies / name).mkdir()
    kept, passed_over, seen = Counter(), [], {}
    for file in files:
        name = file.relative_to(folder)
        if len(name.parts) == 1:
            passed_over.append(f"{name} (in no class)")
            continue
        try:
            image = read_upright(file)
        except CourseError as error:
            passed_over.append(f"{name} ({'too many bits' if 'bits' in str(error) else 'no image that can be read'})")
            continue
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        first = seen.setdefault((image.size, hashlib.sha256(image.tobytes()).digest()), name)
        if first is not name:
            passed_over.append(f"{name} (a copy of {first})")
            continue
        copy = "__".join(name.with_suffix("").parts[1:]) + f"{name.suffix.replace('.', '_')}.png"
        image.save(copies / name.parts[0] / copy, compress_level=1)
        kept[name.parts[0]] += 1
    for name in classes:
        if not kept[name]:
            raise CourseError(f"The class {name} in {folder} has no image that can be read.")
    (copies / REPORT).write_text(_report(kept, passed_over), encoding="utf-8")


def _report(kept: Counter, passed_over: list[str]) -> str:
    lines = [f"{kept.total()} images of {len(kept)} classes: " + ", ".join(f"{n} {c}" for c, n in kept.items())]
    if passed_over:
        lines.append(f"{len(passed_over)} files passed over: " + "; ".join(passed_over))
    return "\n".join(lines)
