"""A CSV file of texts of any kind: which column is what, and which rows can be used."""

import re
from pathlib import Path

import pandas as pd

from course_utils.data.image_folders import PART_OF
from course_utils.data.project_images import named
from course_utils.data.tables import NO_LABEL, check_case, read_table
from course_utils.errors import CourseError

TEXTS = ("text", "sentence", "review", "message", "content", "comment", "tweet", "question", "body")
LABELS = ("label", "class", "category", "target", "sentiment", "rating", "topic", "y")
GROUPS = ("document", "group", "author", "user", "speaker", "patient", "subject", "source", "thread")
PART = ("split", "part", "set", "fold")
FEWEST = 5


def read_text_file(path: Path, text: str, label: str, group: str) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Read a CSV file; columns that are not named are found by their names, else by what is in them.

    Parameters
    ----------
    path : pathlib.Path
    text, label, group : str
        Names of columns, or empty. A group says what belongs together, such as an author.

    Returns
    -------
    table : DataFrame
        ``file`` (number of the row below the header), ``x`` (text), ``label``, ``part`` and ``group`` (empty where no
        column tells), and ``content``, equal for equal texts.
    told : dict of str to str
        Sentences, each under the name of what it tells. Which columns were taken, and what could not be used.
    column : str
        That of the texts.

    Raises
    ------
    CourseError
        As `course_utils.data.tables.read_table`; or if a column is not there, no column can be the text or label, no
        row has both, or labels differ by case only.
    """
    raw, told = _with_header(read_table(path))
    for name in (text, label, group):
        if name and name not in raw:
            raise CourseError(f"{path.name} has no column {name!r}; it has {', '.join(map(repr, raw.columns))}.")
    text = text or _text_column(raw, path.name)
    label = label or _label_column(raw.drop(columns=text), path.name)
    others = raw.drop(columns=[text, label])
    group = group or _first(others.loc[:, others.nunique() > 1], GROUPS)
    part = next((c for c in others if c.lower() in PART and set(others[c].str.lower()) <= PART_OF.keys()), "")
    taken = f"Text: column {text!r}. Label: column {label!r}."
    told["columns"] = taken + (f" Groups: {group!r}." if group else "") + (f" Parts: {part!r}." if part else "")
    table = pd.DataFrame({"file": (raw.index + 1).astype(str), "x": raw[text].map(_clean), "label": raw[label]})
    table["label"] = _as_names(table["label"])
    table["part"] = raw[part].str.lower().map(PART_OF) if part else ""
    table["group"] = raw[group] if group else ""
    table["content"] = table["x"].str.casefold()
    no_text, no_label = table["x"] == "", table["label"].str.lower().isin(NO_LABEL | {""})
    for lacks, what in ((no_text, "text"), (no_label & ~no_text, "label")):
        if lacks.any():
            rows = named(list(table["file"][lacks]))
            told[f"rows without {what}"] = f"{lacks.sum()} rows have no {what} and are left out: {rows}."
    table = table[~no_text & ~no_label].reset_index(drop=True)
    check_case(table["label"].unique(), path.name)
    return table, told, text


def _with_header(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Take a first line that is a row like the others for a row; such a table has columns without names."""
    if not any((table[name] == name).sum() > 1 for name in table):
        return table, {}
    names = [f"column {number + 1}" for number in range(table.shape[1])]
    rows = pd.concat([table.columns.to_frame().T, table]).set_axis(names, axis=1).reset_index(drop=True)
    called = ", ".join(map(repr, names))
    return rows, {"header": f"The first line is a row like the others; the columns are called {called}."}


def _text_column(table: pd.DataFrame, file: str) -> str:
    """Return the column that is called so, else the one with the most words."""
    if found := _first(table, TEXTS):
        return found
    words = {name: table[name].str.count(r"\S+").mean() for name in table}
    best = max(words, key=words.get)
    if words[best] < 2:
        raise CourseError(f"No column of {file} holds texts of several words; name one with TEXT.")
    return best


def _label_column(table: pd.DataFrame, file: str) -> str:
    """Return the column that is called so, else the one with the fewest values that repeat."""
    if found := _first(table, LABELS):
        return found
    values = {name: table[name].nunique() for name in table if table[name].value_counts().gt(FEWEST).sum() > 1}
    if not values:
        raise CourseError(f"No column of {file} has at least two values that repeat; name the labels with LABEL.")
    return min(values, key=values.get)


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    """Return the first column with one of these names, whatever its case, an id at its end or not."""
    plain = {re.sub(r"[_ ]?id$", "", str(column).lower()): column for column in reversed(table.columns)}
    return next((plain[name] for name in names if name in plain), "")


def _clean(text: str) -> str:
    return " ".join(text.split())


def _as_names(labels: pd.Series) -> pd.Series:
    """Return labels without blanks around; 1.0 of a spreadsheet is the class 1 where all are whole numbers."""
    names = labels.str.strip()
    filled = names[names != ""]
    whole = filled.str.fullmatch(r"[+-]?\d+\.0*").fillna(False) | filled.str.fullmatch(r"[+-]?\d+").fillna(False)
    return names.str.replace(r"\.0*$", "", regex=True) if whole.all() else names
