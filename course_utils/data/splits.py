"""The stratified, seeded cut of samples into training, validation and test parts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from course_utils.data.dataset import PARTS, Card, DataSplit, Samples
from course_utils.errors import CourseError, plain_array, whole_number

N_FOLDS = 5  # one fold is the test part, one the validation part: 60/20/20


def stratified_split(
    y: np.ndarray, groups: np.ndarray | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut samples into 60% training, 20% validation and 20% test, each class in proportion.

    Parameters
    ----------
    y : array of shape (n,)
        Labels: class numbers or class names.
    groups : array of shape (n,), optional
        Samples of one group (sentences of one document) stay in one part; the proportions then
        hold as nearly as whole groups allow.
    seed : int
        The same seed gives the same cut.

    Returns
    -------
    train, validation, test : ndarray of int64
        Indices into ``y``, shuffled, each index in exactly one part.

    Raises
    ------
    CourseError
        If labels are missing, or a class has too few members (or groups) for three parts.
    """
    y, seed = checked_labels(y), whole_number("seed", seed, 0)
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        if count < N_FOLDS:
            raise CourseError(_too_few(label, count))
    numbers = np.unique(y, return_inverse=True)[1]  # scikit-learn takes no bytes
    if groups is None:
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(y, numbers)
    else:
        groups = _group_numbers(groups, y)
        folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(y, numbers, groups)
    test, validation, *rest = (held_out for _, held_out in folds)
    parts = (np.concatenate(rest), validation, test)
    for name, part in zip(PARTS, parts, strict=True):
        for label in np.setdiff1d(y, y[part]):
            raise CourseError(f"The {name} part got no sample of class {label}: its samples lie in too few groups.")
    shuffle = np.random.default_rng(seed).permutation  # the source may be sorted by class
    return tuple(shuffle(part) for part in parts)


def make_split(
    x: np.ndarray,
    y: np.ndarray,
    class_names: Sequence[str],
    card: Card,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> DataSplit:
    """Return a data set of images or texts and class numbers, cut by :func:`stratified_split`."""
    x, y = _samples(x, y)
    if not np.issubdtype(y.dtype, np.integer):
        raise CourseError(f"Labels of a data set must be class numbers; got type {y.dtype}.")
    y = y.astype(np.int64)
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        raise CourseError("The samples contain NaN or infinite values; clean or drop these first.")
    if y.min() < 0 or y.max() >= len(class_names):
        raise CourseError(
            f"Labels must lie between 0 and {len(class_names) - 1}, one for each of the"
            f" {len(class_names)} class names; got {y.min()} to {y.max()}."
        )
    for name, count in zip(class_names, np.bincount(y, minlength=len(class_names)), strict=True):
        if count < N_FOLDS:
            raise CourseError(_too_few(name, count))
    parts = (Samples(x[part], y[part]) for part in stratified_split(y, groups, seed))
    return DataSplit(*parts, tuple(class_names), card)


def few_shot(samples: Samples, per_class: int, seed: int = 0) -> Samples:
    """Draw ``per_class`` samples of each class, without replacement, in shuffled order.

    With one seed a smaller draw is contained in a larger one, so that a learning curve over
    ``per_class`` adds data and does not exchange it.

    Parameters
    ----------
    samples : Samples
        What to draw from, as a rule the training part.
    per_class : int
        At least 1.
    seed : int
        Seed of the draw.

    Returns
    -------
    Samples
        ``per_class`` times the number of classes present.

    Raises
    ------
    CourseError
        If a class has fewer members (the sentence names the first), lengths differ, or `per_class` is no such number.
    """
    per_class = whole_number("per_class", per_class)
    (x, y), seed = _samples(*samples), whole_number("seed", seed, 0)
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        if len(members) < per_class:
            raise CourseError(f"Class {label} has {len(members)} samples, fewer than the {per_class} asked for.")
        chosen.append(members[:per_class])
    order = random.permutation(np.concatenate(chosen))
    return Samples(x[order], y[order])


def checked_labels(y: ArrayLike) -> np.ndarray:
    """Return labels as an array of integers or of names, shape (n,); refuse all else in one sentence."""
    y = plain_array("The labels", y)
    if y.ndim != 1 or y.size == 0:
        raise CourseError(f"Labels must be a non-empty array of shape (n,); got shape {y.shape}.")
    if missing := pd.isna(y).sum():
        raise CourseError(f"{missing} of {y.size} labels are missing (NaN); drop these first.")
    kind = pd.api.types.infer_dtype(y)
    if kind not in ("integer", "boolean", "string", "bytes"):
        kind = "fractions (float)" if kind == "floating" else kind
        raise CourseError(f"Labels must be class numbers or names; got {kind}.")
    return np.array(y.tolist()) if y.dtype == object else y


def _samples(x: ArrayLike, y: ArrayLike) -> Samples:
    x, y = plain_array("The samples", x), checked_labels(y)
    if x.ndim == 0 or len(x) != len(y):
        raise CourseError(f"There are {len(x) if x.ndim else 'no'} samples but {len(y)} labels; each needs one.")
    return Samples(x, y)


def _group_numbers(groups: ArrayLike, y: np.ndarray) -> np.ndarray:
    groups = plain_array("groups", groups)
    if groups.shape != y.shape or pd.isna(groups).any():
        raise CourseError(f"groups must name a group for each of the {y.size} labels.")
    try:
        names, numbers = np.unique(groups, return_inverse=True)
    except TypeError:
        raise CourseError("groups must be named by values of one type: all numbers, or all strings.") from None
    if names.size < N_FOLDS:
        raise CourseError(f"There are {names.size} groups; a split needs at least {N_FOLDS}.")
    return numbers


def _too_few(name: object, count: int) -> str:
    return f"Class {name} has {count} samples; a split into three parts needs at least {N_FOLDS}."
