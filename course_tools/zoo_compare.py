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
from threadpoolctl import threadpool_limits

from course_tools.run.job import BUILD
from course_utils.data import Samples, clean_image_folder
from course_utils.errors import CourseError, whole_number
from course_utils.models import extract_features, fold_batch_norm
from course_utils.whole_file import replacing
from course_utils.zoo import load_backbone
from course_utils.zoo.cost import compiled_pass, count_flops, median_seconds
from course_utils.zoo.presets import load_preset
from course_utils.zoo.registry import find_backbone

HUB = "hub:"  # begins the name of a preset of KerasHub
FOLDS = 5  # of the cross-validation, or as many as the smallest class has images
BATCH = 32  # images
REPEATS = 20  # timed passes of an image alone; a quarter as many of a batch


def accepted_sizes(names: Sequence[str], size: int | None) -> tuple[dict[str, int | None], list[str]]:
    """Return the input size of each network in pixels, and a sentence for each that cannot have the one asked for.

    A preset of KerasHub has its own size, which is known when it is loaded, here None.
    Raises a CourseError that offers near names where one is unknown, or if `size` is no size.
    """
    if size is not None:
        whole_number("size", size)
    sizes, told = {}, []
    for name in names:
        if name.startswith(HUB):
            sizes[name] = None
            told += [f"{name} keeps the size of its training."] if size else []
            continue
        entry = find_backbone(name)
        sizes[name] = max(size or entry.input_size, entry.smallest_input)
        if size and sizes[name] > size:
            told.append(f"{name} needs {sizes[name]} pixels or more: {size} is raised to {sizes[name]}.")
    return sizes, told


def cleaned_folder(folder: str | Path) -> Path:
    """Return a copy as `clean_image_folder` makes it, with two or more images of each class."""
    cleaned = clean_image_folder(folder)
    for name in sorted(path for path in cleaned.iterdir() if path.is_dir()):
        if len(list(name.iterdir())) < 2:
            raise CourseError(f"Class {name.name} has a single image: a comparison needs two or more of each class.")
    return cleaned


def read_samples(folder: Path, size: int) -> Samples:
    """Return the images of a cleaned folder as squares of `size` pixels, and their classes."""
    files = keras.utils.image_dataset_from_directory(folder, image_size=(size, size), shuffle=False, verbose=False)
    images, labels = (np.concatenate(part) for part in zip(*files.as_numpy_iterator(), strict=True))
    return Samples(images.astype("uint8"), labels)


def compare(name: str, size: int | None, folder: Path) -> dict[str, object]:
    """Return a row of the comparison: the validation accuracy of a head on frozen features, and the prices.

    The accuracy is balanced, the mean over the folds of a stratified cross-validation. Folds are cut in the order of
    file names, so that a series of images stays together. Times are medians in milliseconds on this machine, with
    BatchNormalization folded away. Operations are those of `count_flops`; where it has no rule for a layer, as for
    attention, they are missing.
    """
    model = load_preset(name.removeprefix(HUB)) if name.startswith(HUB) else load_backbone(name, input_size=size)
    samples = read_samples(folder, model.input_shape[1])
    # All components of the PCA only turn the axes: the same fit in fewer dimensions, hence faster.
    head = make_pipeline(Normalizer(), PCA(svd_solver="full"), LogisticRegression(C=10, max_iter=300))
    folds = min(FOLDS, np.bincount(samples.y).min())
    features = extract_features(model, samples.x)
    with threadpool_limits(1, user_api="blas"):  # small matrices: more threads would only wait
        scores = cross_val_score(head, features, samples.y, cv=folds, scoring="balanced_accuracy")
    try:
        flops = count_flops(model)
    except CourseError:
        flops = None
    folded = fold_batch_norm(model)
    return {
        "network": name,
        "size": model.input_shape[1],
        "accuracy": scores.mean(),
        "standard error": scores.std(ddof=1) / folds**0.5,
        "ms alone": 1000 * median_seconds(compiled_pass(folded, 1), REPEATS),
        "ms in a batch": 1000 * median_seconds(compiled_pass(folded, BATCH), REPEATS // 4) / BATCH,
        "parameters": model.count_params(),
        "FLOPs": flops,
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
    network = Column("Network", min_width=17, overflow="fold")
    table = Table(network, "Size", "Accuracy ± SE", "ms\nalone", "ms in\na batch", "Weights\n[M]", "GFLOP")
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        table.add_row(
            row["network"], f"{row['size']}", f"{row['accuracy']:.3f} ± {row['standard error']:.3f}",
            f"{row['ms alone']:.1f}", f"{row['ms in a batch']:.1f}", f"{row['parameters'] / 1e6:.1f}",
            f"{row['FLOPs'] / 1e9:.2f}" if row["FLOPs"] else "–",
        )  # fmt: skip
    return table
