"""Which column of a CSV file is taken for what, and which rows are used; a look at whole files is elsewhere."""

import pandas as pd
import pytest

from course_utils.data.project_texts import read_text_file
from course_utils.errors import CourseError

ROWS = 12


@pytest.fixture
def read(tmp_path):
    """Writes columns as a CSV file and reads it as a project does."""

    def write(columns, text="", label="", group=""):
        pd.DataFrame(columns).to_csv(tmp_path / "own.csv", index=False)
        return read_text_file(tmp_path / "own.csv", text, label, group)

    return write


def texts(words="three words here"):
    return [f"{words} {chr(97 + i)}" for i in range(ROWS)]


def labels(n=2):
    return [f"l{i % n}" for i in range(ROWS)]


@pytest.mark.parametrize(
    "name", ["text", "Sentence", "REVIEW", "message_id", "content", "comment", "tweet", "question", "body"]
)
def test_a_column_of_texts_is_known_by_its_name(read, name):
    _, told, column = read({"longer": texts("many more words than the others have"), name: texts(), "label": labels()})
    assert column == name and told["columns"] == f"Text: column {name!r}. Label: column 'label'."


@pytest.mark.parametrize(
    "name", ["label", "Class", "category", "target", "sentiment", "rating", "topic", "Y", "class id", "label_id"]
)
def test_a_column_of_labels_is_known_by_its_name(read, name):
    table, told, _ = read({"text": texts(), "other": labels(), name: labels(3)})
    assert f"Label: column {name!r}." in told["columns"] and table["label"].tolist() == labels(3)


@pytest.mark.parametrize(
    "name", ["document", "group", "author", "user", "speaker", "patient", "subject", "source", "thread_id"]
)
def test_a_column_of_groups_is_known_by_its_name(read, name):
    groups = [f"g{i // 3}" for i in range(ROWS)]
    table, told, _ = read({"text": texts(), "label": labels(), name: groups})
    assert f"Groups: {name!r}." in told["columns"] and table["group"].tolist() == groups


@pytest.mark.parametrize("name", ["split", "Part", "set", "fold"])
def test_a_column_of_parts_is_known_by_its_name_and_its_values(read, name):
    parts = ["train", "Dev", "test"] * 4
    table, told, _ = read({"text": texts(), "label": labels(), name: parts})
    assert f"Parts: {name!r}." in told["columns"]
    assert table["part"].tolist() == ["train", "validation", "test"] * 4
    table, told, _ = read({"text": texts(), "label": labels(), name: ["train", "1", "2"] * 4})
    assert "Parts" not in told["columns"] and set(table["part"]) == {""}


def test_of_several_names_the_first_of_the_list_is_taken_and_a_named_column_goes_before(read):
    columns = {"body": texts("the body of it"), "text": texts("the text of it"), "class": labels(), "label": labels(3)}
    table, _, column = read(columns)
    assert column == "text" and table["label"].tolist() == labels(3)
    table, _, column = read(columns, text="body", label="class", group="label")
    assert column == "body" and table["label"].tolist() == labels() and table["group"].tolist() == labels(3)
    assert table["x"].tolist() == texts("the body of it") and set(table["part"]) == {""}


def test_without_a_name_the_most_words_are_the_text_and_the_fewest_values_the_label(read):
    columns = {"a": labels(3), "b": texts("two"), "c": texts("one two three"), "d": labels(2)}
    table, told, column = read(columns)
    assert column == "c" and told["columns"] == "Text: column 'c'. Label: column 'd'."
    with pytest.raises(CourseError, match="No column of own.csv holds texts of several words; name one with TEXT"):
        read({"a": labels(), "b": [f"w{i}" for i in range(ROWS)]})
    assert read({"a": labels(), "b": texts("w")})[2] == "b"  # two words are enough


@pytest.mark.parametrize(("often", "found"), [(5, False), (6, True)])
def test_a_value_of_a_label_repeats_more_than_five_times(read, often, found):
    column = ["x"] * 6 + ["y"] * often + ["z"] * (6 - often)
    columns = {"text": texts(), "kind": column}
    if found:
        assert "Label: column 'kind'" in read(columns)[1]["columns"]
    else:
        with pytest.raises(CourseError, match="No column of own.csv has at least two values that repeat"):
            read(columns)


def test_rows_without_text_or_label_are_told_and_left_out(read):
    text, label = texts(), labels()
    text[1], text[2], label[2], label[4], label[5] = "  ", "", "", "NaN", " "
    table, told, _ = read({"text": text, "label": label})
    assert told["rows without text"] == "2 rows have no text and are left out: 2; 3."
    assert told["rows without label"] == "2 rows have no label and are left out: 5; 6."
    assert table["file"].tolist() == [str(i) for i in (1, 4, 7, 8, 9, 10, 11, 12)]
    assert table.index.tolist() == list(range(8)) and list(read({"text": texts(), "label": labels()})[1]) == ["columns"]


def test_blanks_and_capitals_do_not_tell_texts_apart(read):
    text = ["  One\n two ", "one TWO", *texts()[2:]]
    table, _, _ = read({"text": text, "label": labels()})
    assert table["x"].tolist()[:2] == ["One two", "one TWO"] and table["content"][0] == table["content"][1]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["1.0", "2.00", "-1.0", "+3"], ["1", "2", "-1", "+3"]),
        (["1.0", "1.5", "2.0", "3"], ["1.0", "1.5", "2.0", "3"]),
        ([" a ", "b", "a", "1.0"], ["a", "b", "a", "1.0"]),
    ],
)
def test_whole_numbers_of_a_spreadsheet_are_classes(read, given, names):
    table, _, _ = read({"text": texts(), "label": given * 3})
    assert table["label"].tolist() == names * 3


def test_labels_that_differ_by_case_are_refused(read):
    with pytest.raises(CourseError, match="case"):
        read({"text": texts(), "label": ["Good", "good"] * 6})


def test_a_first_line_that_is_a_row_is_a_row(tmp_path):
    """As files have it that were made without a header: its label is that of other rows."""
    rows = [f"{text},{label}" for text, label in zip(texts(), labels(), strict=True)]
    (tmp_path / "own.csv").write_text("\n".join(rows), encoding="utf-8")
    table, told, column = read_text_file(tmp_path / "own.csv", "", "", "")
    assert column == "column 1" and table["x"].tolist() == texts() and table["file"].tolist()[0] == "1"
    assert told["header"].endswith("the columns are called 'column 1', 'column 2'.")
    (tmp_path / "own.csv").write_text("\n".join(["t,l0", *rows[:1], *rows[1::2]]), encoding="utf-8")
    with pytest.raises(CourseError, match="no column 'column 2'"):  # once is chance: it stays a header
        read_text_file(tmp_path / "own.csv", "", "column 2", "")
