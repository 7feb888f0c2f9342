"""Is this machine ready for the course? Each check comes with its remedy."""

import importlib.metadata
import os
import sys
from dataclasses import dataclass

import psutil
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from course_utils.data.assets import is_cached
from course_utils.data.catalog import load_catalog
from course_utils.settings import ROOT, cache_dir

GIB = 2**30
LEAST_MEMORY, LEAST_DISK = 6 * GIB, 2 * GIB


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was found, and what to do if it is not well."""

    subject: str
    found: str
    well: bool
    remedy: str = ""


def examine() -> list[Finding]:
    """Run all checks and return what they found."""
    return [_python(), _versions(), _memory(), _cores(), _kernel(), _cache(), _assets()]


def _python() -> Finding:
    well = (3, 11) <= sys.version_info[:2] <= (3, 13)
    remedy = "Install Python 3.11, 3.12 or 3.13 and set the course up with it."
    return Finding("Python", sys.version.split()[0], well, remedy)


def _versions() -> Finding:
    locked = dict(
        line.split(" ")[0].split("==")
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line and ";" not in line and not line.startswith((" ", "#"))
    )
    other = [name for name, version in locked.items() if _installed(name) != version]
    named = f"; not {', '.join(other[:5])}" if other else ""
    found = f"{len(locked) - len(other)} of {len(locked)} as locked{named}"
    return Finding("Packages", found, not other, "Run `pip install --require-hashes -r requirements.lock`.")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    remedy = "Close other programs, or use `--workers 1`."
    return Finding("Free memory", f"{free / GIB:.1f} GiB", free >= LEAST_MEMORY, remedy)


def _cores() -> Finding:
    cores = os.cpu_count() or 1
    return Finding("Processor cores", str(cores), cores >= 2, "It works on one core, at half the speed.")


def _kernel() -> Finding:
    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        return Finding("Notebook kernel", "none", False, "Run `python -m ipykernel install --sys-prefix`.")
    return Finding("Notebook kernel", argv[0], True)


def _cache() -> Finding:
    folder = cache_dir()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = psutil.disk_usage(str(existing)).free
    writable = os.access(existing, os.W_OK)
    found = f"{folder}, {free / GIB:.0f} GiB free" + ("" if writable else ", not writable")
    return Finding("Cache", found, writable and free >= LEAST_DISK, "Set COURSE_CACHE to a folder with 2 GiB free.")


def _assets() -> Finding:
    carried = [asset for asset in load_catalog().values() if asset.archive]
    here = sum(is_cached(asset) for asset in carried)
    found = f"{here} of {len(carried)} in the cache"
    return Finding("Models and data", found, here == len(carried), "Run `course fetch`.")
