"""What `look_at` asks of a table of samples, whether images or texts; each answer comes with its sentences."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from course_utils.data.dataset import PARTS
from course_utils.data.inspection import is_leak, joined, near_images, near_texts, telling_word, told_by
from course_utils.data.project_images import FACTS, name_of_source, named
from course_utils.data.splits import N_FOLDS, stratified_split
from course_utils.errors import CourseError

ORDER = {"test": 0, "validation": 1}  # of copies the one in the test part stays, else it is known before the test
MANY = 2  # samples of one source, on average, that make a name suspicious


def without_copies(table: pd.DataFrame, small: np.ndarray | None) -> tuple[pd.DataFrame, np.ndarray | None, list[str]]:
    """Take out what is there twice, by the column ``content``, and both of those whose labels contradict."""
    by_content, told = table.groupby("content"), []
    contradicted = by_content["label"].transform("nunique") > 1
    in_order = table.assign(rank=table["part"].map(ORDER).fillna(2)).sort_values("rank", kind="stable")
    copies = in_order.duplicated("content").sort_index() & ~contradicted
    leaked = copies & (by_content["part"].transform("nunique") > 1)
    for rows, what in (
        (contradicted, "samples are there with two labels; none of them is used"),
        (copies, "copies of other samples are left out"),
        (leaked, "of these copies lay in two parts of the given split: a leak"),
    ):
        if rows.any():
            told.append(f"{rows.sum()} {what}: {named(list(table['file'][rows]))}.")
    kept = ~copies & ~contradicted
    return table[kept].reset_index(drop=True), None if small is None else small[kept.to_numpy()], told


def with_groups(table: pd.DataFrame, small: np.ndarray | None, asked: bool) -> tuple[pd.DataFrame, list[str]]:
    """Number the groups: what comes from one source, and near copies, stay in one part."""
    near = near_texts(table["x"]) if small is None else near_images(small)
    alone = "sample " + pd.Series(np.arange(len(table)).astype(str), index=table.index)
    sources, told = table["group"].where(table["group"] != "", alone), _near_copies(table, near)
    groups = pd.Series(joined(sources, near), index=table.index)
    if (count := table["group"][table["group"] != ""].nunique()) and (asked or groups.nunique() < len(table)):
        if asked or groups.groupby(table["label"]).nunique().min() >= N_FOLDS:
            told.append(f"{count} groups are kept together in the split.")
        else:
            told.append(f"The groups are not kept together: a class has fewer than {N_FOLDS} of them.")
            groups = pd.Series(joined(alone, near), index=table.index)
    return table.assign(group=groups), told


def _near_copies(table: pd.DataFrame, near: csr_array) -> list[str]:
    one, other = near.nonzero()
    one, other = one[one < other], other[one < other]
    label, part = table["label"].to_numpy(), table["part"].to_numpy()
    names, told = table["file"].to_numpy(), []
    for chosen, what in (
        (np.full(len(one), True), "pairs are near copies; a pair stays in one part"),
        (label[one] != label[other], "pairs of near copies have two labels: is one of them wrong?"),
        (part[one] != part[other], "pairs of near copies lie in two parts of the given split: a leak"),
    ):
        if chosen.any():
            shown = [f"{names[i]} = {names[j]}" for i, j in zip(one[chosen], other[chosen], strict=True)]
            told.append(f"{chosen.sum()} {what} ({named(shown)}).")
    return told


def without_rare_classes(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out classes that cannot be split into three parts; refuse what then has no two classes."""
    sizes = table.groupby("label")["group"].nunique()
    rare, told = sizes[sizes < N_FOLDS], []
    if len(rare):
        shown = named([f"{name} ({count})" for name, count in rare.items()])
        told.append(f"{len(rare)} classes have fewer than {N_FOLDS} different samples, or groups; left out: {shown}.")
    if len(sizes) - len(rare) < 2:
        raise CourseError(
            f"Two classes with {N_FOLDS} different samples (or groups) each are needed; "
            f"{len(sizes) - len(rare)} of {len(sizes)} classes have as many."
        )
    return table[~table["label"].isin(rare.index)].reset_index(drop=True), told


def leaks(table: pd.DataFrame, kind: str) -> list[str]:
    """Say what tells the class beside the content, and what may belong together."""
    labels, chance, told = table["label"], 1 / table["label"].nunique(), []
    if kind == "images":
        facts, what = table[FACTS], "Width, height and format of the files"
        sources = table["file"].map(name_of_source).nunique()
        if table["group"].nunique() == len(table) and 2 * N_FOLDS < sources < len(table) / MANY:
            example = table["file"].iloc[0]
            told.append(f"{sources} beginnings of names, as of {example}: if each is one source, set GROUP to name.")
    else:
        text, what = table["x"], "Length, capitals and digits of the texts"
        counted = {"characters": ".", "words": r"\S+", "capitals": "[A-Z]", "digits": r"\d"}
        facts = pd.DataFrame({name: text.str.count(pattern) for name, pattern in counted.items()})
        word, score = telling_word(text, labels)
        if is_leak(score, labels):
            told.append(f"A leak? Asking for {word!r} and the like tells the class: balanced accuracy {score:.2f}.")
    score = told_by(facts, labels)
    if is_leak(score, labels):
        told.append(f"A leak? {what} alone tell the class: balanced accuracy {score:.2f}, chance {chance:.2f}.")
    return told


def with_parts(table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Split into train, validation and test; of a given split only the part that is missing is cut from train."""
    given, told = set(table["part"]), []
    if "train" not in given:
        part = pd.Series("train", index=table.index)
        missing = ["validation", "test"]
    else:
        part, missing = table["part"].copy(), [name for name in ("validation", "test") if name not in given]
        told += [f"The given split has no {name} part: a fifth of train serves as such." for name in missing]
    rows = np.flatnonzero(part == "train")
    _, *cut = stratified_split(table["label"].to_numpy(str)[rows], table["group"].to_numpy()[rows], seed)
    for name, chosen in zip(("validation", "test"), cut, strict=True):
        if name in missing:
            part.iloc[rows[chosen]] = name
    for name in PARTS:
        if lost := sorted(set(table["label"]) - set(table["label"][part == name])):
            raise CourseError(f"The class {lost[0]} has no sample in the part {name}; each part needs every class.")
    counts = part.value_counts()
    told.append(f"Split: {counts['train']} to train, {counts['validation']} to choose, {counts['test']} to test once.")
    return table.assign(part=part), told
