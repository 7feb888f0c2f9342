"""Files appear whole or not at all; what is damaged is as good as missing."""

import pytest

from course_utils.whole_file import read_json, replacing


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1")
    with replacing(path) as partial:
        partial.write_text("2")
        assert read_json(path) == 1
    assert read_json(path) == 2 and list(tmp_path.iterdir()) == [path]


def test_a_failed_writing_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1")
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("2")
        raise KeyError
    assert read_json(path) == 1 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_what_is_damaged_or_missing_reads_as_nothing(tmp_path, content):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    path.write_bytes(content)
    assert read_json(path) is None
