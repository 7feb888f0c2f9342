"""Fetching by many at once, without network, from broken archives: one good copy, or one sentence."""

import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from house import one_sentence

from course_utils.cache import cached
from course_utils.data.assets import cached_path, fetch
from course_utils.data.catalog import find_asset
from course_utils.errors import CourseError
from course_utils.zoo import load_backbone


def test_eight_commands_on_an_empty_cache(house):
    names = ["first", "second"]
    for name in names:
        house.asset(name, megabytes=3)
    children = [house.start("fetch", *names) for _ in range(8)]
    ends = [(*child.communicate(timeout=300), child.returncode) for child in children]

    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * 8
    assert house.fetched("first") and house.fetched("second")


@pytest.mark.parametrize(
    "nowhere",
    [{"PIP_FIND_LINKS": ""}, {"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_FIND_LINKS": ""}],
)
def test_without_network_the_file_and_its_place_are_named(house, nowhere):
    archive = house.asset("remote", megabytes=1)
    code, _, errors = house.course("fetch", "remote", **nowhere)
    sentence = one_sentence(errors)
    assert code == 2 and f"Cannot download {archive.name}" in sentence and str(house.cache / "archives") in sentence
    assert not house.fetched("remote")

    (house.cache / "archives").mkdir()  # the remedy that it names
    shutil.copy(archive, house.cache / "archives")
    assert house.course("fetch", "remote", **nowhere)[0] == 0 and house.fetched("remote")


def test_a_notebook_without_network_ends_in_the_same_sentence(house):
    house.asset("remote", megabytes=1)
    house.notebook("01_fetches", "from course_utils.data.assets import fetch\nfetch('remote')")
    code, output, _ = house.course("run", PIP_FIND_LINKS="")
    told = " ".join(output.split())
    assert code == 1 and "CourseError: Cannot download remote-1.0-py3-none-any.whl" in told and "archives" in told


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "replaced"])
def test_a_broken_download_is_never_kept(house, damage):
    archive = house.asset("broken", megabytes=1)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes({"truncated": data[: len(data) // 2], "bit flipped": data, "replaced": b"other"}[damage])
    code, _, errors = house.course("fetch", "broken")
    assert code == 2 and archive.name in one_sentence(errors) and not house.fetched("broken")


class Hostile:
    """Runs code where it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    for name, value in {"COURSE_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cache"


def test_hostile_weights_in_the_cache_are_not_even_opened(empty_cache, tmp_path):
    path = cached_path(find_asset("efficientnet_lite0"))
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(CourseError, match="Cannot download efficientnet_lite0"):
        load_backbone("EfficientNetLite0", input_size=32)
    assert not (tmp_path / "ran").exists()


def test_a_hostile_archive_is_refused_before_it_is_opened(empty_cache, tmp_path):
    asset = find_asset("mnist")
    (empty_cache / "archives").mkdir(parents=True)
    with zipfile.ZipFile(empty_cache / "archives" / asset.archive, "w") as archive:
        archive.writestr("../../../../evil", b"evil")
        archive.writestr(asset.member, pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(CourseError, match="is not the one that MNIST, 5,000 digits needs"):
        fetch("mnist")
    assert not (tmp_path / "ran").exists() and not list(tmp_path.rglob("*evil*"))


def test_hostile_features_are_computed_again(empty_cache, tmp_path):
    wanted = np.ones((3, 2), np.float32)
    (empty_cache / "features").mkdir(parents=True)
    np.savez(empty_cache / "features" / "key.npz", key=np.array([Hostile(tmp_path / "ran")] * 3, dtype=object))
    assert cached("key", 3, lambda: wanted) is wanted
    assert not (tmp_path / "ran").exists()
