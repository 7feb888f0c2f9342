"""The split of a folder of images into three folders, with the same number of training images in each class."""

import shutil
from pathlib import Path

import numpy as np

from course_utils.data.image_folders import class_folders, is_kept, keep_folder, visible_files
from course_utils.data.own_images import clean_image_folder
from course_utils.errors import CourseError, whole_number


def split_image_folder(folder: str | Path, per_class: int = 10, seed: int = 0) -> Path:
    """Copy a folder of images into ``train``, ``validation`` and ``test``, each with the same classes.

    Parameters
    ----------
    folder : str or pathlib.Path
        One subfolder for each class. The reader's own folder goes through `clean_image_folder`
        first, which prints what became of each file.
    per_class : int
        Training images of each class, at least 1. The rest of a class is halved between
        validation and test.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    pathlib.Path
        A folder in the cache with the three subfolders.

    Raises
    ------
    CourseError
        If `per_class` is no such number, or a class has fewer than ``per_class + 2`` images.
    """
    per_class, seed = whole_number("per_class", per_class), whole_number("seed", seed, 0)
    if not is_kept(folder):
        folder = clean_image_folder(folder)
    classes = {name: visible_files(path) for name, path in class_folders(folder).items()}
    for name, files in classes.items():
        if len(files) < per_class + 2:
            raise CourseError(
                f"The class {name} has {len(files)} images; {per_class} for training and one each"
                f" for validation and test need at least {per_class + 2}."
            )

    def write(target: Path) -> None:
        random = np.random.default_rng(seed)
        for name, files in classes.items():
            order = random.permutation(len(files))
            middle = per_class + (len(files) - per_class) // 2
            cuts = {"train": order[:per_class], "validation": order[per_class:middle], "test": order[middle:]}
            for part, chosen in cuts.items():
                (target / part / name).mkdir(parents=True)
                for i in chosen:
                    shutil.copyfile(files[i], target / part / name / files[i].name)

    every = [file for files in classes.values() for file in files]
    made_of = f"{per_class} {seed} {[(str(file), file.stat().st_mtime_ns) for file in every]}"
    return keep_folder(f"{Path(folder).name}-{per_class}-each-{seed}", made_of, write)
