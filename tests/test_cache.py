"""Arrays kept under a key: computed once, and anew whenever the key, the file or the number of rows is another."""

import hashlib
import shutil

import numpy as np
import pytest

from course_utils import cache
from course_utils.cache import cached, hash_arrays

ROWS = np.arange(6).reshape(3, 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)
    return tmp_path / "features"


def keep(key, array=ROWS, rows=3):
    """Return the array kept under a key, and how often it was computed for that."""
    computed = []
    return cached(key, rows, lambda: computed.append(1) or array).tolist(), len(computed)


def test_an_array_is_computed_once_for_each_key(folder):
    assert [keep(key)[1] for key in ("a", "b", "a", "b")] == [1, 1, 0, 0]
    assert keep("a", ROWS + 1) == (ROWS.tolist(), 0)
    assert sorted(path.name for path in folder.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("rows", [2, 4])
def test_another_number_of_rows_is_computed_anew(folder, rows):
    keep("a")
    other = np.zeros((rows, 2))
    assert keep("a", other, rows) == (other.tolist(), 1)
    assert keep("a", other, rows) == (other.tolist(), 0)


def test_a_file_of_another_key_or_a_damaged_one_is_computed_anew(folder):
    keep("a")
    shutil.copy(folder / "a.npz", folder / "b.npz")
    assert keep("b", ROWS + 1) == ((ROWS + 1).tolist(), 1)
    (folder / "a.npz").write_bytes(b"damaged")
    assert [keep("a")[1], keep("a")[1]] == [1, 0]


@pytest.mark.parametrize(
    "others",
    [[ROWS + 1], [ROWS.astype("int32")], [ROWS.reshape(2, 3)], [ROWS.T], [ROWS[:2], ROWS[2:]], [ROWS, ROWS], []],
    ids=["content", "type", "shape", "order", "number", "repeated", "none"],
)
def test_type_shape_and_content_count_in_a_hash(others):
    def digest(arrays):
        found = hashlib.sha256()
        hash_arrays(found, arrays)
        return found.hexdigest()

    assert digest(others) != digest([ROWS])
    assert digest([np.asfortranarray(ROWS)]) == digest([ROWS.copy()]) == digest([ROWS])
