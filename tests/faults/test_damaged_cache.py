"""Damaged files of the cache are noticed, every one of them, and made anew."""

import os
import random
import shutil

import numpy as np
import pytest

from course_utils.cache import cached
from course_utils.data.assets import is_cached
from course_utils.data.catalog import load_catalog

DAMAGES = ["truncated", "bit flipped", "replaced", "lengthened"]
CARRIED = [name for name, asset in load_catalog().items() if asset.archive]


def damage(path, kind, draw):
    """Damage a file at a random place."""
    size = path.stat().st_size
    place = draw.randrange(size)
    if kind == "truncated":
        os.truncate(path, place)
    elif kind == "replaced":
        path.write_bytes(draw.randbytes(min(size, 1000)))
    else:
        with path.open("r+b") as file:
            file.seek(place if kind == "bit flipped" else size)
            byte = file.read(1) or b"\0"
            file.seek(-len(byte) if kind == "bit flipped" else 0, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1 << draw.randrange(8)]))


@pytest.mark.parametrize("name", CARRIED)
def test_no_damage_of_a_model_or_data_set_is_overlooked(real_cache, tmp_path, monkeypatch, name):
    """With the real files: each damage to one of them, and one file less."""
    if not (real_cache / "assets" / name).exists():
        pytest.skip(f"{name} is not fetched")
    asset, draw = load_catalog()[name], random.Random(name)
    folder = tmp_path / "assets" / name
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    shutil.copytree(real_cache / "assets" / name, folder)
    assert is_cached(asset)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for kind in [*DAMAGES, "deleted"]:
        victim = draw.choice(files)
        whole = victim.read_bytes()
        victim.unlink() if kind == "deleted" else damage(victim, kind, draw)
        assert not is_cached(asset), (victim.name, kind)
        victim.write_bytes(whole)
    assert is_cached(asset)


def test_five_hundred_damages_to_features_never_change_them(tmp_path, monkeypatch):
    """Whatever bit flips, wherever the file ends: the array comes back equal, or is computed again."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    draw, wanted, computed = (random.Random(0), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), [])

    def compute():
        computed.append(1)
        return wanted

    for number in range(500):
        cached("key", 4, compute)
        damage(tmp_path / "features" / "key.npz", DAMAGES[number % 4], draw)
        np.testing.assert_array_equal(cached("key", 4, compute), wanted)
    assert 300 < len(computed) <= 501
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["key.npz"]


def test_features_of_others_are_not_taken_for_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    mine, other = np.zeros((4, 3)), np.ones((4, 3))
    cached("mine", 4, lambda: mine), cached("other", 4, lambda: other)
    shutil.copy(tmp_path / "features" / "other.npz", tmp_path / "features" / "mine.npz")
    np.testing.assert_array_equal(cached("mine", 4, lambda: mine), mine)
