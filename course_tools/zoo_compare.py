"""Pretrained networks compared on a folder of images, for `course zoo compare`."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from rich.table import Column, Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from course_tools.run.job import BUILD
from course_utils.data import Samples, clean_image_folder
from course_utils.errors import CourseError, whole_number
from course_utils.models import extract_features, fold_batch_norm
from course_utils.whole_file import replacing
from course_utils.zoo import load_backbone
from course_utils.zoo.cost import measure_cost
from course_utils.zoo.registry import find_backbone

FOLDS = 5  # of the cross-validation, or as many as the smallest class has images


def accepted_sizes(names: Sequence[str], size: int | None) -> tuple[dict[str, int], list[str]]:
    """Return the input size in pixels of each network, and a sentence for each that needs more than was asked for.

    Raises a CourseError that offers near names where one is unknown, or if `size` is no size.
    """
    entries = {name: find_backbone(name) for name in names}
    if size is not None:
        whole_number("size", size)
    sizes = {name: max(size or entry.input_size, entry.smallest_input) for name, entry in entries.items()}
    raised = [name for name in sizes if size and sizes[name] > size]
    return sizes, [f"{name} needs {sizes[name]} pixels or more: {size} is raised to {sizes[name]}." for name in raised]


def read_samples(folder: str | Path, size: int) -> Samples:
    """Return the images of a folder with a subfolder for each class, squares of `size` pixels, and their classes.

    Raises a CourseError if there are no two classes with two readable images each.
    """
    cleaned = clean_image_folder(folder)
    files = keras.utils.image_dataset_from_directory(
        cleaned, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
    )
    images, labels = (np.concatenate(part) for part in zip(*files.as_numpy_iterator(), strict=True))
    for name, count in zip(files.class_names, np.bincount(labels), strict=True):
        if count < 2:
            raise CourseError(f"Class {name} has a single image: a comparison needs two or more of each class.")
    return Samples(images.astype("uint8"), labels)


def compare(name: str, size: int, samples: Samples) -> dict[str, object]:
    """Return a row of the comparison: the validation accuracy of a head on frozen features, and the four prices.

    The accuracy is balanced, the mean over the folds of a stratified cross-validation. Times are medians in
    milliseconds on this machine, with BatchNormalization folded away; operations are those of `count_flops`.
    """
    model = load_backbone(name, input_size=size)
    # All components of the PCA only turn the axes: the same fit in fewer dimensions, hence faster.
    head = make_pipeline(Normalizer(), PCA(svd_solver="full"), LogisticRegression(C=10, max_iter=300))
    folds = min(FOLDS, np.bincount(samples.y).min())
    features = extract_features(model, samples.x)
    scores = cross_val_score(head, features, samples.y, cv=folds, scoring="balanced_accuracy")
    cost = measure_cost(fold_batch_norm(model))
    return {
        "network": name,
        "size": size,
        "accuracy": scores.mean(),
        "standard error": scores.std(ddof=1) / folds**0.5,
        "ms alone": 1000 * cost.latency,
        "ms in a batch": 1000 * cost.batch_latency,
        "parameters": model.count_params(),
        "FLOPs": cost.flops,
    }


def write_csv(rows: list[dict[str, object]], folder: str | Path) -> Path:
    """Write the rows to ``build/zoo_FOLDER.csv``, the best accuracy first, and return its path."""
    path = BUILD / f"zoo_{Path(folder).expanduser().absolute().name}.csv"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        pd.DataFrame(rows).sort_values("accuracy", ascending=False).to_csv(partial, index=False)
    return path


def comparison_table(rows: list[dict[str, object]]) -> Table:
    """Return the rows as a table for the console, the best accuracy first."""
    whole = [Column(name, no_wrap=True) for name in ("Network", "Size", "Accuracy ± SE")]
    table = Table(*whole, "ms alone", "ms in a batch", "Weights [M]", "GFLOPs")
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        table.add_row(
            row["network"], f"{row['size']}", f"{row['accuracy']:.3f} ± {row['standard error']:.3f}",
            f"{row['ms alone']:.1f}", f"{row['ms in a batch']:.1f}",
            f"{row['parameters'] / 1e6:.1f}", f"{row['FLOPs'] / 1e9:.2f}",
        )  # fmt: skip
    return table
