import codecs
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from course_utils.data import load_text_csv
from course_utils.data.dataset import PARTS
from course_utils.errors import CourseError


def sentences(count=30):
    labels = ["praise" if i % 3 else "complaint" for i in range(count)]
    return pd.DataFrame({"text": [f"Sentence {i}, with a comma" for i in range(count)], "label": labels})


@pytest.fixture
def write(tmp_path):
    def write_csv(table, **options):
        table.to_csv(tmp_path / "mine.csv", index=False, **options)
        return tmp_path / "mine.csv"

    return write_csv


def test_round_trip(write):
    table = sentences()
    table.loc[0, "text"] = "NA"  # a word, not a missing value
    split = load_text_csv(write(table))
    assert split.class_names == ("complaint", "praise") and split.train.y.dtype == np.int64
    found = {text: split.class_names[y] for part in PARTS for text, y in zip(*getattr(split, part), strict=True)}
    assert found == dict(zip(table["text"], table["label"], strict=True))
    assert split.train.x.dtype == object and type(split.train.x[0]) is str
    assert (split.counts() > 0).all(axis=None) and len(split.train.y) == 18


def test_other_columns_numbers_and_the_mark_of_spreadsheets(write):
    table = sentences().rename(columns={"text": "Bericht", "label": "Note"})
    table["Note"] = np.arange(30) % 2
    split = load_text_csv(write(table, encoding="utf-8-sig"), text="Bericht", label="Note")
    assert split.class_names == ("0", "1")


def test_blanks_around_a_label_make_no_new_class(write):
    table = sentences()
    table.loc[::2, "label"] += " "
    assert load_text_csv(write(table)).class_names == ("complaint", "praise")


def test_documents_and_repetitions_stay_together(write):
    table = sentences(60)
    table["document"] = [f"d{i // 4}" for i in range(60)]
    split = load_text_csv(write(table), group="document")
    document = dict(zip(table["text"], table["document"], strict=True))
    parts = [{document[text] for text in getattr(split, part).x} for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 15
    table["text"] = [f"Sentence {i // 4}" for i in range(60)]
    parts = [set(getattr(load_text_csv(write(table)), part).x) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 15


def test_the_seed_decides_the_split(write):
    path = write(sentences())
    first, again, other = (set(load_text_csv(path, **seed).test.x) for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert first == again != other


def test_five_different_sentences_of_a_label_are_enough(write):
    table = sentences()
    table["label"] = ["rare" if i < 5 else "usual" for i in range(30)]
    assert (load_text_csv(write(table)).counts().loc["rare"] > 0).all()
    table.loc[0, "text"] = table.loc[1, "text"]
    with pytest.raises(CourseError, match="label 'rare' of mine.csv has 4 different sentences"):
        load_text_csv(write(table))


def test_one_long_text_does_not_make_all_long(write):
    table = pd.concat([sentences(2000), sentences(2)])  # two texts are there twice
    table.iloc[0, 0] = "long " * 4000
    path = write(table)
    tracemalloc.start()
    load_text_csv(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # an array of strings of one width would take 160 MB


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_columns_are_separated_by_what_the_header_has_most_of(write, separator):
    table = sentences()
    table.loc[0, "text"] = ", ; \t | " * 3
    split = load_text_csv(write(table, sep=separator))
    found = {text for part in PARTS for text in getattr(split, part).x}
    assert found == set(table["text"])


@pytest.mark.parametrize("before", ["sep=;\n", "\n\n", "\n  \n"])
def test_what_stands_before_the_header_is_passed_over(tmp_path, before):
    lines = [f"Sentence {i}, it says;{i % 2}" for i in range(10)]
    (tmp_path / "mine.csv").write_text(before + " text ;label, or so; label\n" + "\n".join(lines).replace(";", ";x;"))
    assert load_text_csv(tmp_path / "mine.csv").class_names == ("0", "1")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_both_orders_of_utf_16_are_read_and_nul_bytes_dropped(tmp_path, mark):
    text = sentences().assign(text=[f"crème {i}\0" for i in range(30)]).to_csv(index=False)
    (tmp_path / "mine.csv").write_bytes(mark + text.encode("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"))
    split = load_text_csv(tmp_path / "mine.csv")
    assert {text for part in PARTS for text in getattr(split, part).x} == {f"crème {i}" for i in range(30)}


def changed(column, value, rows=slice(2, 3)):
    table = sentences()
    table.loc[table.index[rows], column] = value
    return table


@pytest.mark.parametrize(
    "table, message",
    [
        (sentences().rename(columns={"label": "stars"}), "no column 'label'.* columns are 'text', 'stars'"),
        (changed("text", ""), "'text' of mine.csv is empty in row 3 below"),
        (changed("text", "  ", slice(2, 5)), "empty in row 3 and 2 more"),
        (changed("label", ""), "'label' of mine.csv is empty in row 3"),
        (changed("label", "praise", slice(None)), "Every sentence of mine.csv has the label 'praise'"),
        (changed("label", "rare"), "label 'rare' of mine.csv has 1 different sentences; 5 or more"),
        (changed("text", "the same", slice(0, None, 3)), "label 'complaint' of mine.csv has 1 different sentences"),
        (changed("label", "Praise"), "labels 'Praise', 'praise' of mine.csv differ by case only"),
        (sentences().assign(label=["GOOD", "Good"] * 15), "labels 'GOOD', 'Good' of mine.csv differ by case only"),
        (sentences(0), "no line below its header"),
    ],
)
def test_bad_tables_get_one_sentence(write, table, message):
    with pytest.raises(CourseError, match=message):
        load_text_csv(write(table))


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "null", "NA", "n/a", "?"])
def test_words_for_a_missing_label_are_no_label(write, word):
    with pytest.raises(CourseError, match=f"'{re.escape(word)}' in the column 'label' of mine.csv looks like"):
        load_text_csv(write(changed("label", word, slice(0, None, 4))))


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (b"PK\x03\x04", "is a workbook or another zip file"),
        (b"\xd0\xcf\x11\xe0", "is an old workbook"),
        (b"\x1f\x8b", "is compressed: unpack it"),
        (b"PAR1", "is a Parquet file: save it as CSV"),
    ],
)
def test_other_kinds_of_files_are_told_by_name(tmp_path, begin, told):
    (tmp_path / "mine.csv").write_bytes(begin + b" and more")
    with pytest.raises(CourseError, match=f"mine.csv {told}"):
        load_text_csv(tmp_path / "mine.csv")


def test_bad_files_get_one_sentence(write, tmp_path):
    with pytest.raises(CourseError, match="no file at .*nowhere.csv"):
        load_text_csv(tmp_path / "nowhere.csv")
    with pytest.raises(CourseError, match="a folder at"):
        load_text_csv(tmp_path)
    table = sentences()
    table.loc[0, "text"] = "crème brûlée"
    with pytest.raises(CourseError, match="mine.csv is not in UTF-8 .byte .*; save it as"):
        load_text_csv(write(table, encoding="latin-1"))
    with pytest.raises(CourseError, match="its columns are 'text:label'"):
        load_text_csv(write(table.assign(text="no comma"), sep=":"))
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "I loved film 6, it was number 6 of the year,praise\n" * 9, encoding="utf-8")
    with pytest.raises(CourseError, match="more columns than its header; .* put texts that hold commas"):
        load_text_csv(path)
    path.write_bytes(b"")
    with pytest.raises(CourseError, match="mine.csv cannot be read as a table"):
        load_text_csv(path)
    path.write_text("text,label\na,b\nc,d,e\n")
    with pytest.raises(CourseError, match="mine.csv cannot be read as a table"):
        load_text_csv(path)
    path.write_text("text,label\na,b\nc\n")
    with pytest.raises(CourseError, match="'label' of mine.csv is empty in row 2"):
        load_text_csv(path)
    with pytest.raises(CourseError, match="no column 'source'"):
        load_text_csv(write(sentences()), group="source")


@pytest.mark.parametrize(
    "row, message",
    [
        ('"A lone quote begins this text,praise', "do not pair in the row that begins in line 12"),
        (r'"He said \"no\" twice",praise', "do not pair in the row that begins in line 12"),
    ],
)
def test_quotes_that_do_not_pair_are_told_with_their_line(write, row, message):
    path = write(sentences())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:11], row, *lines[11:20], row, *lines[20:]]))
    with pytest.raises(CourseError, match=message):
        load_text_csv(path)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "mine.csv").write_text("text,text,label\n" + "a,b,praise\n" * 10)
    with pytest.raises(CourseError, match="more than one column named 'text'"):
        load_text_csv(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text("text,label,text,label\n" + "a,b,c,d\n" * 10)
    with pytest.raises(CourseError, match="more than one column named 'label', 'text'"):
        load_text_csv(tmp_path / "mine.csv")


def test_a_quoted_text_may_hold_commas_quotes_and_lines(write):
    table = sentences()
    table.loc[0, "text"] = 'He said "no",\nand left.'
    split = load_text_csv(write(table))
    assert any(table.loc[0, "text"] in part.x for part in (split.train, split.validation, split.test))


def test_a_very_long_text_is_no_fault_of_the_quotes(write):
    table = sentences()
    table.loc[0, "text"] = "long " * 40_000
    split = load_text_csv(write(table))
    assert sum(len(part.x) for part in (split.train, split.validation, split.test)) == len(table)
