"""The reader's own sentences: a CSV file with a column of texts and a column of labels."""

import codecs
import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from course_utils.data.dataset import Card, DataSplit
from course_utils.data.splits import make_split
from course_utils.errors import CourseError

NO_LABEL = {"nan", "none", "null", "na", "n/a", "?"}  # what programs write where a label is missing
SEPARATORS = ",;\t|"
NO_TEXT = {  # how files begin that are often taken for CSV
    b"PK\x03\x04": "a workbook or another zip file: open it in the program that wrote it, and save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old workbook: open it in the program that wrote it, and save it as CSV UTF-8",
    b"\x1f\x8b": "compressed: unpack it",
    b"PAR1": "a Parquet file: save it as CSV",
}
FEWEST = 5  # different texts, or groups, of each label: for three parts


def load_text_csv(
    path: str | Path, text: str = "text", label: str = "label", group: str | None = None, seed: int = 0
) -> DataSplit:
    """Load labelled sentences from a CSV file.

    Parameters
    ----------
    path : str or pathlib.Path
        In UTF-8 or UTF-16, with the names of the columns in the first line, separated by commas, semicolons or tabs.
    text, label : str
        Names of the columns with the sentences and with their classes (words or whole numbers).
    group : str, optional
        Name of a column that says where a sentence comes from, such as a document or an author: what
        comes from one place stays in one part. Without it, repetitions of one sentence stay in one part.
    seed : int
        Seed of the split.

    Returns
    -------
    DataSplit
        ``x`` objects of type str, shape (n,); classes in alphabetical order.

    Raises
    ------
    CourseError
        If the file is missing, no CSV or not in UTF-8, quotes do not pair, a column is missing or there twice, a text
        or label is empty, a label is a word for a missing one, two labels differ by case only, there is but one class,
        or a class has fewer than five different sentences (or groups).
    """
    path = Path(path)
    table = read_table(path)
    for column in [name for name in (text, label, group) if name is not None]:
        check_column(table, column, path.name)
    names, labels = np.unique(table[label].str.strip().to_numpy(dtype=str), return_inverse=True)
    _check_labels(names.tolist(), label, path.name)
    origins = table[text if group is None else group]
    for name, count in origins.groupby(names[labels]).nunique().items():
        if count < FEWEST:
            what = "different sentences" if group is None else f"different values of {group!r}"
            raise CourseError(f"The label '{name}' of {path.name} has {count} {what}; {FEWEST} or more are needed.")
    groups = pd.factorize(origins)[0] if origins.duplicated().any() else None
    card = Card(f"Sentences of {path.name}", f"Columns {text} and {label}.", "that of the texts", "")
    return make_split(table[text].to_numpy(dtype=object), labels, tuple(map(str, names)), card, groups, seed)


def _check_labels(names: list[str], column: str, file: str) -> None:
    """Refuse a single label, words for a missing one, and labels that differ by case only."""
    if len(names) < 2:
        raise CourseError(f"Every sentence of {file} has the label '{names[0]}'; two classes or more are needed.")
    for name in names:
        if name.lower() in NO_LABEL:
            raise CourseError(
                f"{name!r} in the column {column!r} of {file} looks like a missing label: drop or rename it."
            )
    check_case(names, file)


def check_case(names: Iterable[str], file: str) -> None:
    """Refuse different labels that are one when written small."""
    alike = defaultdict(list)
    for name in sorted(names):
        alike[name.lower()].append(name)
    for same in alike.values():
        if len(same) > 1:
            raise CourseError(f"The labels {', '.join(map(repr, same))} of {file} differ by case only: make them one.")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file; every cell is a string, an empty one the empty string.

    Columns are separated by commas, semicolons, tabs or bars, whichever the header has most of. The file is in UTF-8,
    or in UTF-16 with its mark. Blanks around the names of columns and NUL bytes are dropped.

    Raises
    ------
    CourseError
        If there is no such file, it is no such table, or two columns have one name.
    """
    if not path.is_file():
        raise CourseError(f"There is {'a folder' if path.is_dir() else 'no file'} at {path}; give a CSV file.")
    remedy = "separate columns by commas, and put texts that hold commas into double quotes."
    text, separator = _decoded(path), ","
    if text.startswith("sep="):  # a line with which spreadsheets tell each other
        text = text.partition("\n")[2]
    if header := text.lstrip().splitlines()[:1]:
        separator = max(SEPARATORS, key=header[0].count)
    try:
        _check_quotes(text, separator, path.name)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().rstrip(".")
        raise CourseError(f"{path.name} cannot be read as a table ({reason}); {remedy}") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for a name of the row
        raise CourseError(f"Rows of {path.name} have more columns than its header; {remedy}")
    if table.empty:
        raise CourseError(f"{path.name} has no line below its header; sentences with labels are needed.")
    return table.rename(columns=str.strip)


def _decoded(path: Path) -> str:
    """Return the text of a file; name the kinds of files that are often taken for CSV."""
    content = path.read_bytes()
    for begin, told in NO_TEXT.items():
        if content.startswith(begin):
            raise CourseError(f"{path.name} is {told}.")
    # utf-8-sig also takes UTF-8 with the mark that spreadsheets put in front.
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\0", "")
    except UnicodeDecodeError as error:
        raise CourseError(f"{path.name} is not in UTF-8 (byte {error.start}); save it as 'CSV UTF-8'.") from None


def _check_quotes(text: str, separator: str, file: str) -> None:
    """Refuse a file whose quotes do not pair, for its rows run together, and names of columns that are there twice."""
    csv.field_size_limit(2**31 - 1)  # else a text of more than 131,072 characters is an error
    reader, line = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1
    try:
        for row, cells in enumerate(reader):
            names = [name.strip() for name in cells]
            if row == 0 and (again := {name for name in names if name and names.count(name) > 1}):
                twice = ", ".join(map(repr, sorted(again)))
                raise CourseError(f"{file} has more than one column named {twice}; give each its own name.")
            line = reader.line_num + 1
    except csv.Error as error:
        raise CourseError(
            f"The quotes of {file} do not pair in the row that begins in line {line} ({error}): put texts "
            'that hold commas or quotes into double quotes, and write a quote inside twice, "".'
        ) from None


def check_column(table: pd.DataFrame, column: str, file: str) -> None:
    """Refuse a table that lacks a column, or has an empty cell in it."""
    if column not in table:
        columns = ", ".join(map(repr, table.columns))
        raise CourseError(f"{file} has no column {column!r}; separated by commas, its columns are {columns}.")
    empty = np.flatnonzero(table[column].str.strip() == "")
    if empty.size:
        rows = f"row {empty[0] + 1}" + (f" and {empty.size - 1} more" if empty.size > 1 else "")
        raise CourseError(f"The column {column!r} of {file} is empty in {rows} below the header; fill or drop them.")
