"""One execution of one notebook: what runs, with which parameters, where its output goes, and whether it need run."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from course_tools.build.fingerprint import fingerprint, imported_files
from course_tools.notebooks import Notebook
from course_tools.parameters import default_parameters, run_parameters
from course_tools.run.execute import execute
from course_tools.run.report import leave_report
from course_utils.data.assets import cached_path
from course_utils.data.catalog import find_asset
from course_utils.data.chest_xrays import own_file
from course_utils.data.image_folders import visible_files
from course_utils.settings import ROOT
from course_utils.whole_file import read_json

BUILD = ROOT / "build"
READING = threading.Lock()  # nbformat imports its validator at the first use, which two threads must not do at once


def job_for(notebook: Notebook, profile: str, typed: dict[str, str]) -> "Job":
    """Return the job that executes a stored notebook into ``build/``, see `run_parameters`."""
    output = BUILD / f"{notebook.key}.ipynb"
    return Job(notebook.key, notebook, notebook.path, output, run_parameters(notebook, profile, typed))


@dataclass(frozen=True)
class Job:
    """A file of cells to execute with these parameters, for the notebook whose bands hold for it.

    ``measuring`` records the figures and compares nothing, which is how bands and sweeps are made.
    """

    name: str
    notebook: Notebook
    path: Path
    output: Path
    parameters: dict[str, object] = field(default_factory=dict)
    measuring: bool = False

    @property
    def record(self) -> Path:
        """The JSON file beside the output that tells how the run ended."""
        return self.output.with_suffix(".json")

    def fingerprint(self) -> str:
        """Return a hash of all that decides the output, the reader's own data among it where they are shown."""
        cells = nbformat.read(self.path, as_version=4).cells
        now = fingerprint(self.notebook, cells, self.parameters, self.measuring)
        if facts := [facts_of(Path(self.parameters[name])) for name in ("DATA", "FOLDER") if name in self.parameters]:
            now = hashlib.sha256(f"{now} {facts}".encode()).hexdigest()
        if not any(file.stem == "chest_xrays" for file in imported_files(cells)):
            return now
        chests = own_file() or cached_path(find_asset("pneumonia_mnist"))
        images = chests.read_bytes() if chests.is_file() else b"none"
        return hashlib.sha256(now.encode() + images).hexdigest()

    def last_success(self) -> dict | None:
        """Return the result of a run that is done and unchanged, None where it must be run."""
        last = read_json(self.record)
        if last is None or not self.output.exists() or last.get("status") != "passed":
            return None
        if last.get("folder") and not Path(last["folder"]).is_dir():  # what the notebook has written is gone
            return None
        return last | {"reused": True} if last.get("fingerprint") == self.fingerprint() else None

    def run(self, limit: float, on_cell: Callable[[int, int], None]) -> dict:
        """Execute the job; its output and its record appear whole or not at all."""
        try:
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=self.output.parent) as folder:
                partial = Path(folder) / self.output.name
                with READING:
                    now = self.fingerprint()
                environment = {"COURSE_MEASURE": "1"} if self.measuring else {}
                result = execute(self.path, partial, self.parameters, on_cell, environment, limit)
                result |= {"name": self.name, "parameters": self.parameters, "fingerprint": now}
                if result["status"] == "passed" and not self.measuring:
                    folder = leave_report(partial, default_parameters(self.path) | self.parameters)
                    result |= {"folder": str(folder)} if folder else {}
                record = partial.with_suffix(".json")
                record.write_text(json.dumps(result, indent=1), encoding="utf-8")
                self.record.unlink(missing_ok=True)  # an old record never stands beside a new output
                if read_json(partial) is None:  # it was never written, or killed while it was
                    self.output.unlink(missing_ok=True)
                else:
                    os.replace(partial, self.output)
                os.replace(record, self.record)
        except OSError as error:  # the disk is full, say
            return self.failure(error)
        return result | {"reused": False}

    def failure(self, error: BaseException) -> dict:
        """Return the result of a run that an error kept from its end, or from its beginning."""
        with suppress(OSError):
            self.record.unlink(missing_ok=True)  # else the site would tell of an earlier run, and call it passed
        told = {"cell": "", "message": f"{type(error).__name__}: {error}"}
        return {"name": self.name, "status": "failed", "seconds": 0.0, "records": [], "error": told}


def facts_of(path: Path) -> list[tuple[str, int, int]]:
    """Return name, bytes and time of change of a file, or of all files of a folder that are not hidden."""
    files = visible_files(path) if path.is_dir() else [path] if path.is_file() else []
    return [(os.fsencode(file).hex(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
