"""What `look_at` asks of a table of samples, whether images or texts; each answer comes with its sentences."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from course_utils.data.dataset import PARTS
from course_utils.data.inspection import is_leak, joined, near_images, near_texts, telling_word, told_by
from course_utils.data.project_images import FACTS, name_of_source, named
from course_utils.data.splits import N_FOLDS, stratified_split
from course_utils.errors import CourseError

ORDER = {"test": 0, "validation": 1}  # of copies the one in the test part stays, else it is known before the test
BUNDLES = 1000  # groups of one sample that a label has in the split, at most
MANY = 2  # samples of one source, on average, that make a name suspicious
LEAK = "in two parts of the given split: a leak"
# What is looked for: the names under which the checks tell what they have found.
SOUGHT = {
    "images": ("unreadable files", "samples with two labels", "copies", "near copies"),
    "texts": ("rows without text", "rows without label", "samples with two labels", "copies", "near copies"),
}
SOUGHT_IN_A_SPLIT = ("copies in two parts", "near copies in two parts")
LEAKS = {
    "images": ("width, height and format that tell the class",),
    "texts": ("words that tell the class", "length, capitals and digits that tell the class"),
}


def not_found(told: dict[str, str], kind: str, is_split: bool) -> dict[str, str]:
    """Say in one sentence what was looked for in vain; nothing where all of it was found."""
    sought = (*SOUGHT[kind], *(SOUGHT_IN_A_SPLIT if is_split else ()), *LEAKS[kind])
    absent = [what for what in sought if what not in told]
    return {"not found": f"Looked for and not found: {'; '.join(absent)}."} if absent else {}


def without_copies(
    table: pd.DataFrame, small: np.ndarray | None
) -> tuple[pd.DataFrame, np.ndarray | None, dict[str, str], pd.DataFrame]:
    """Take out what is there twice, by the column ``content``, and both of those whose labels contradict.

    The last value is a table of pairs: ``finding``, ``file`` and ``other``, of copies the one that stays.
    """
    contradicted = table.groupby("content")["label"].transform("nunique") > 1
    in_order = table.assign(rank=table["part"].map(ORDER).fillna(2)).sort_values("rank", kind="stable")
    first = in_order.groupby("content")[["file", "part"]].transform("first").sort_index()
    again = in_order.duplicated("content").sort_index()
    copies, told, pairs = again & ~contradicted, {}, [_pairs()]
    for finding, rows, what in (
        ("samples with two labels", contradicted, "samples are there with two labels; none of them is used"),
        ("copies", copies, "copies of other samples are left out, of each pair the first"),
        ("copies in two parts", copies & (table["part"] != first["part"]), f"of these copies lay {LEAK}"),
    ):
        if rows.any():
            pairs.append(_pairs(finding, table["file"][rows & again], first["file"][rows & again]))
            told[finding] = f"{rows.sum()} {what}: {_shown(pairs[-1])}."
    kept = ~copies & ~contradicted
    small = None if small is None else small[kept.to_numpy()]
    return table[kept].reset_index(drop=True), small, told, pd.concat(pairs)


def _pairs(finding: str = "", files: Sequence[str] = (), others: Sequence[str] = ()) -> pd.DataFrame:
    return pd.DataFrame({"finding": finding, "file": list(files), "other": list(others)})


def _shown(pairs: pd.DataFrame) -> str:
    return named([f"{file} = {other}" for file, other in zip(pairs["file"], pairs["other"], strict=True)])


def with_groups(
    table: pd.DataFrame, small: np.ndarray | None, asked: bool
) -> tuple[pd.DataFrame, dict[str, str], pd.DataFrame]:
    """Number the groups: what comes from one source, and near copies, stay in one part; the pairs come as well."""
    near = near_texts(table["x"]) if small is None else near_images(small)
    alone = "sample " + pd.Series(np.arange(len(table)).astype(str), index=table.index)
    sources, (told, pairs) = table["group"].where(table["group"] != "", alone), _near_copies(table, near)
    groups = pd.Series(joined(sources, near), index=table.index)
    if (count := table["group"][table["group"] != ""].nunique()) and (asked or groups.nunique() < len(table)):
        apart = pd.Series(joined(alone, near), index=table.index)
        sizes = pd.DataFrame({"groups": groups, "samples": apart}).groupby(table["label"]).nunique()
        few = sizes.index[(sizes["groups"] < N_FOLDS) & (sizes["samples"] >= N_FOLDS)]  # the others are left out anyway
        if asked or few.empty:
            told["groups"] = f"{count} groups are kept together in the split."
        else:
            told["groups"] = f"The groups are not kept together: {few[0]} has fewer than {N_FOLDS} of them."
            groups = apart
    return table.assign(group=groups), told, pairs


def _near_copies(table: pd.DataFrame, near: csr_array) -> tuple[dict[str, str], pd.DataFrame]:
    one, other = near.nonzero()
    one, other = one[one < other], other[one < other]
    label, part = table["label"].to_numpy(), table["part"].to_numpy()
    names, told, pairs = table["file"].to_numpy(), {}, [_pairs()]
    stay = "" if (part != "").any() else "; a pair stays in one part"
    for finding, chosen, what in (
        ("near copies", np.full(len(one), True), f"pairs are near copies{stay}"),
        (
            "near copies with two labels",
            label[one] != label[other],
            "pairs of near copies have two labels: is one of them wrong?",
        ),
        ("near copies in two parts", part[one] != part[other], f"pairs of near copies lie {LEAK}"),
    ):
        if chosen.any():
            pairs.append(_pairs(finding, names[one[chosen]], names[other[chosen]]))
            told[finding] = f"{chosen.sum()} {what} ({_shown(pairs[-1])})."
    return told, pd.concat(pairs)


def without_rare_classes(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Leave out classes that cannot be split into three parts; refuse what then has no two classes."""
    sizes = table.groupby("label")["group"].nunique()
    rare, told = sizes[sizes < N_FOLDS], {}
    if len(rare):
        shown = named([f"{name} ({count})" for name, count in rare.items()])
        told["rare classes"] = (
            f"{len(rare)} classes have fewer than {N_FOLDS} different samples, or groups; left out: {shown}."
        )
    if len(sizes) - len(rare) < 2:
        raise CourseError(
            f"Two classes with {N_FOLDS} different samples (or groups) each are needed; "
            f"{len(sizes) - len(rare)} of {len(sizes)} classes have as many."
        )
    return table[~table["label"].isin(rare.index)].reset_index(drop=True), told


def leaks(table: pd.DataFrame, kind: str) -> dict[str, str]:
    """Say what tells the class beside the content, and what may belong together."""
    labels, chance, told = table["label"], 1 / table["label"].nunique(), {}
    if kind == "images":
        facts, what = table[FACTS], "Width, height and format of the files"
        beginnings = table["file"].map(name_of_source)
        shortened = beginnings != table["file"].map(lambda file: Path(file).stem)  # not 1.jpg, 2.jpg of each class
        sources = beginnings[shortened].nunique()
        if table["group"].nunique() == len(table) and 2 * N_FOLDS < sources < len(table) / MANY:
            example = table["file"].iloc[0]
            told["sources"] = (
                f"{sources} beginnings of names, as of {example}: if each is one source, set GROUP to name."
            )
    else:
        text, what = table["x"], "Length, capitals and digits of the texts"
        counted = {"characters": ".", "words": r"\S+", "capitals": "[A-Z]", "digits": r"\d"}
        facts = pd.DataFrame({name: text.str.count(pattern) for name, pattern in counted.items()})
        word, score = telling_word(text, labels)
        if is_leak(score, labels):
            told[LEAKS[kind][0]] = (
                f"A leak? Asking for {word!r} and the like tells the class: balanced accuracy {score:.2f}."
            )
    score = told_by(facts, labels)
    if is_leak(score, labels):
        told[LEAKS[kind][-1]] = (
            f"A leak? {what} alone tell the class: balanced accuracy {score:.2f}, chance {chance:.2f}."
        )
    return told


def with_parts(table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Split into train, validation and test; of a given split only the part that is missing is cut from train."""
    given, told = set(table["part"]), {}
    if "train" not in given:
        part = pd.Series("train", index=table.index)
        missing = ["validation", "test"]
    else:
        part, missing = table["part"].copy(), [name for name in ("validation", "test") if name not in given]
        told |= {name: f"The given split has no {name} part: a fifth of train serves as such." for name in missing}
    rows = np.flatnonzero(part == "train")
    groups = _bundled(table.iloc[rows], seed)
    _, *cut = stratified_split(table["label"].to_numpy(str)[rows], groups.to_numpy(), seed)
    for name, chosen in zip(("validation", "test"), cut, strict=True):
        if name in missing:
            part.iloc[rows[chosen]] = name
    for name in PARTS:
        if lost := sorted(set(table["label"]) - set(table["label"][part == name])):
            raise CourseError(f"The class {lost[0]} has no sample in the part {name}; each part needs every class.")
    counts = part.value_counts()
    how = f"cut with seed {seed}" if missing else "as it was given"
    told["split"] = (
        f"Split, {how}: {counts['train']} to train, {counts['validation']} to choose, {counts['test']} to test once."
    )
    return table.assign(part=part), told


def _bundled(table: pd.DataFrame, seed: int) -> pd.Series:
    """Return the groups, those of one sample bundled by label at random where a label has more than `BUNDLES` of them.

    scikit-learn places group after group, which would take minutes for many.
    """
    alone = table[~table["group"].duplicated(keep=False)].sample(frac=1, random_state=seed)
    in_label = alone.groupby("label")["group"]
    size = -(-in_label.transform("size") // BUNDLES)  # rounded up
    bundle = alone.groupby(["label", in_label.cumcount() // size])["group"].transform("first")
    return bundle.reindex(table.index).fillna(table["group"]).astype(table["group"].dtype)
