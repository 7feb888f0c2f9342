"""The chest X-rays: any file of the right form loads, a wrong one is refused, a download is whole or absent."""

import hashlib
import io
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from course_tools import cli
from course_utils.data import assets, chest_xrays, load_chest_xrays
from course_utils.data.assets import fetch
from course_utils.data.catalog import find_asset
from course_utils.errors import CourseError

COUNTS = {"train": 9, "val": 4, "test": 5}


def make_arrays(**changes):
    random, arrays = np.random.default_rng(0), {}
    for part, count in COUNTS.items():
        arrays[f"{part}_images"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    arrays |= changes
    return {name: array for name, array in arrays.items() if array is not None}


def to_bytes(arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(chest_xrays.VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the file, with some of its arrays changed (None: left out)."""

    def write(**changes):
        path = tmp_path / "pneumoniamnist.npz"
        path.write_bytes(to_bytes(make_arrays(**changes)))
        return path

    return write


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves bytes as the official file, at the stated length and with a status."""
    servers, ended = [], threading.Event()

    def serve(content, md5=None, length=None, status=200, silence=0):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked += 1
                ended.wait(silence)
                self.send_response(status)
                self.send_header("Content-Length", str(length or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/files/pneumoniamnist.npz"
        asset = replace(find_asset("pneumonia_mnist"), url=url, md5=md5 or hashlib.md5(content).hexdigest())
        monkeypatch.setattr(assets, "find_asset", lambda name: asset)
        return server

    yield serve
    ended.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def check(split):
    arrays = make_arrays()
    for name, part in zip(COUNTS, (split.train, split.validation, split.test), strict=True):
        assert np.array_equal(part.x[..., 0], arrays[f"{name}_images"]) and part.x.dtype == np.uint8
        assert np.array_equal(part.y, arrays[f"{name}_labels"][:, 0]) and part.y.dtype == np.int64
    assert split.class_names == ("normal", "pneumonia")


def test_file_loads_by_path_and_by_variable(write, monkeypatch):
    path = write()
    check(load_chest_xrays(path))
    check(load_chest_xrays(str(path)))
    monkeypatch.setenv("COURSE_PNEUMONIA_MNIST", str(path))
    check(load_chest_xrays())
    check(load_chest_xrays(""))
    with pytest.raises(CourseError, match="no file .*other.npz"):
        load_chest_xrays("other.npz")  # the path comes before the variable


def test_a_relative_path_in_the_variable_begins_at_the_checkout(monkeypatch):
    assert chest_xrays.own_file() is None
    monkeypatch.setenv("COURSE_PNEUMONIA_MNIST", "data/mine.npz")
    assert chest_xrays.own_file() == chest_xrays.ROOT / "data" / "mine.npz"


def test_flat_labels_are_accepted(write):
    check(load_chest_xrays(write(**{f"{part}_labels": np.arange(n) % 2 for part, n in COUNTS.items()})))


def test_card_names_source_and_licence(write):
    split = load_chest_xrays(write())
    assert "zenodo" in split.card.source and split.card.licence == "CC BY 4.0"
    assert "same child" in split.card.note and "9 train, 4 validation, 5 test" in repr(split)


IMAGES = np.zeros((4, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"val_labels": None}, "cannot be read as an npz file with .*val_labels"),
        ({"val_images": IMAGES.astype(float)}, r"val_images must be bytes .* got float64 \(4"),
        ({"val_images": IMAGES[:, :14]}, r"val_images must be bytes .* got uint8 \(4, 14, 28\)"),
        ({"val_images": IMAGES[..., None]}, r"got uint8 \(4, 28, 28, 1\)"),
        ({"val_images": IMAGES[:0], "val_labels": np.zeros((0, 1), int)}, r"uint8 \(0, 28, 28\)"),
        ({"val_labels": np.zeros((3, 1), int)}, r"4 whole numbers, .* got int64 \(3, 1\)"),
        ({"val_labels": np.array([0, 1, 0.5, 1])}, "whole numbers, .* got float64"),
        ({"val_labels": np.array([0, 1, 2, 1])}, r"no other; got \[0, 1, 2\]"),
        ({"val_labels": np.array([-1, 1, 1, 1])}, r"no other; got \[-1, 1\]"),
        ({"val_labels": np.ones((4, 1), int)}, r"every number from 0 to 1 \(normal, pneumonia\), .* got \[1\]"),
        ({"val_images": np.array([None] * 4)}, "cannot be read as an npz file"),  # would need pickle
    ],
)
def test_wrong_file_is_refused_in_one_sentence(write, changes, sentence):
    with pytest.raises(CourseError, match=sentence) as error:
        load_chest_xrays(write(**changes))
    assert "\n" not in str(error.value)


def test_damaged_or_foreign_file_is_refused(write, tmp_path):
    content = write().read_bytes()
    single = io.BytesIO()
    np.save(single, IMAGES)
    middle = len(content) // 2
    flipped = content[:middle] + bytes(255 - byte for byte in content[middle : middle + 20]) + content[middle + 20 :]
    for damaged in (b"", content[:-100], content[: len(content) // 2], flipped, b"text", single.getvalue()):
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(CourseError, match="bad.npz cannot be read as an npz file"):
            load_chest_xrays(tmp_path / "bad.npz")
    with pytest.raises(CourseError, match="no file"):
        load_chest_xrays(tmp_path)


def test_official_file_is_downloaded_once(serve, empty_cache):
    server = serve(to_bytes(make_arrays()))
    check(load_chest_xrays())
    check(load_chest_xrays())
    assert server.asked == 1 and files_in(empty_cache) == ["pneumoniamnist.npz"]


def test_other_content_is_refused(serve, empty_cache):
    serve(to_bytes(make_arrays()), md5="0" * 32)
    with pytest.raises(
        CourseError, match=f"Cannot download pneumoniamnist.npz .MD5 hash .* does not match .* expected md5:{'0' * 32}"
    ):
        load_chest_xrays()
    assert files_in(empty_cache) == []


def test_interrupted_download_leaves_nothing(serve, empty_cache):
    content = to_bytes(make_arrays())
    serve(content, length=len(content) + 1000)
    with pytest.raises(CourseError, match=rf"{len(content)} bytes read, 1000 more expected") as error:
        load_chest_xrays()
    sentence = str(error.value)
    assert str(empty_cache / "archives") in sentence and chest_xrays.VARIABLE in sentence and "md5:" in sentence
    assert files_in(empty_cache) == [] and "\n" not in sentence
    serve(content)
    check(load_chest_xrays())  # the next attempt succeeds


@pytest.mark.parametrize("status", [403, 500])
def test_refusal_is_told(serve, status):
    serve(b"", status=status)
    with pytest.raises(CourseError, match=f"{status} .*Error"):
        load_chest_xrays()


def test_file_of_the_users_own_is_verified(serve, empty_cache):
    content = to_bytes(make_arrays())
    server = serve(content)
    own = empty_cache / "archives" / "pneumoniamnist.npz"
    own.parent.mkdir(parents=True)
    own.write_bytes(content[:-1])
    with pytest.raises(CourseError, match=f"The file {own} is not the one"):
        load_chest_xrays()
    own.write_bytes(content)
    check(load_chest_xrays())
    assert server.asked == 0


def test_silent_network_is_given_up_soon(serve, monkeypatch):
    serve(b"", silence=30)
    monkeypatch.setattr(assets, "TIMEOUTS", (8, 0.2))
    begin = time.monotonic()
    with pytest.raises(CourseError, match="Read timed out"):
        load_chest_xrays()
    assert time.monotonic() - begin < 5


def test_course_fetch_does_without_it_unless_asked(serve, monkeypatch):
    serve(b"", status=500)
    fetched = []

    def with_network(name):
        return fetch(name) if name == "pneumonia_mnist" else fetched.append(name)

    monkeypatch.setattr(assets, "fetch", with_network)
    result = CliRunner().invoke(cli.app, ["fetch"])
    assert result.exit_code == 0 and "mnist" in fetched
    assert CliRunner().invoke(cli.app, ["fetch", "pneumonia_mnist"]).exit_code != 0
