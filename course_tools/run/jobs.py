"""Many notebooks at once on a Dask cluster, resumable and with a live progress display."""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from distributed import Client, Future, as_completed, get_worker
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from course_tools.notebooks import Notebook
from course_tools.run.cluster import ROOM, open_cluster
from course_tools.run.execute import execute
from course_tools.settings import LIMIT_MINUTES
from course_utils.data.assets import cached_path
from course_utils.data.catalog import find_asset
from course_utils.data.chest_xrays import own_file
from course_utils.errors import CourseError
from course_utils.evaluation.expectations import BANDS_PATH
from course_utils.settings import ROOT
from course_utils.whole_file import read_json

BUILD = ROOT / "build"
TOPIC = "course-progress"
SHOWN = 20  # of more jobs than these, only those at work have a line


@dataclass(frozen=True)
class Job:
    """One execution of one notebook: what runs, with which parameters, and where its output goes."""

    name: str
    notebook: Path
    output: Path
    parameters: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        """The JSON file beside the output that tells how the run ended."""
        return self.output.with_suffix(".json")

    def fingerprint(self) -> str:
        """Return a hash of all that decides the output: sources, parameters, the reader's data, package, data files, lock."""
        digest = hashlib.sha256(f"{platform.python_version()}{sorted(self.parameters.items())}".encode())
        chests = own_file() or cached_path(find_asset("pneumonia_mnist"))  # there, 07 is about other images
        digest.update(chests.read_bytes() if chests.is_file() else b"none")
        for cell in nbformat.read(self.notebook, as_version=4).cells:
            digest.update(f"{cell.cell_type}\0{cell.source}\0".encode())
        package = sorted((ROOT / "course_utils").rglob("*.py")) + [
            BANDS_PATH,
            ROOT / "course_utils" / "data" / "catalog.toml",
        ]
        for path in [*package, ROOT / "requirements.lock"]:
            digest.update(path.read_bytes())
        return digest.hexdigest()


def job_for(notebook: Notebook, parameters: dict[str, object]) -> Job:
    """Return the job that executes a stored notebook into ``build/``."""
    return Job(notebook.name, notebook.path, BUILD / notebook.path.name, parameters)


def run_jobs(
    jobs: list[Job],
    workers: int,
    scheduler: str | None = None,
    force: bool = False,
    limit: float = LIMIT_MINUTES,
) -> list[dict]:
    """Execute jobs in parallel and return their results in order.

    A job whose fingerprint is that of its last success is not run again unless ``force``.
    A failing notebook does not stop the others.

    Parameters
    ----------
    jobs
        What to run.
    workers
        Processes of the local cluster.
    scheduler
        Address of a Dask scheduler to use instead; its workers need this checkout at the same path.
    force
        Run also what has not changed.
    limit
        Minutes after which a notebook is stopped.

    Returns
    -------
    list of dict
        As ``execute`` returns them, with ``name``, ``fingerprint``, ``parameters`` and ``reused``.
    """
    results = {} if force else {job.name: last for job in jobs if (last := _last_success(job))}
    waiting = [job for job in jobs if job.name not in results]
    if waiting:
        with ExitStack() as stack:
            folders = sorted({job.output.parent for job in waiting})
            for folder in folders:
                stack.enter_context(_alone_in(folder))
            client = stack.enter_context(open_cluster(min(workers, len(waiting)), scheduler, folders[0]))
            results |= _run_on(client, waiting, limit)
    return [results[job.name] for job in jobs]


def _run_on(client: Client, jobs: list[Job], limit: float) -> dict[str, dict]:
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    console, few = Console(), len(jobs) <= SHOWN
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        whole = progress.add_task("all", total=len(jobs), note="")
        bars = {
            job.name: progress.add_task(escape(job.name), total=None, start=False, visible=few, note="waiting")
            for job in jobs
        }

        def tell(event) -> None:
            _, message = event
            if message["name"] in bars:
                bar, done, total = bars[message["name"]], message["done"], message["total"]
                progress.start_task(bar) if done == 0 else None
                progress.update(bar, completed=done, total=total, visible=True, note=f"cell {done}/{total}")

        client.subscribe_topic(TOPIC, tell)
        # Dask does a task again when its worker dies; `pure=False` gives each a key that no other client has.
        futures = {
            client.submit(_run_job, job, limit, pure=False, resources=ROOM, priority=-position): job
            for position, job in enumerate(jobs)
        }
        results = {}
        for future in as_completed(futures):
            job = futures[future]
            results[job.name] = result = _result_of(future, job)
            progress.update(bars[job.name], visible=few, note=result["status"])
            progress.stop_task(bars[job.name])
            progress.update(whole, completed=len(results), note=f"{len(results)}/{len(jobs)}")
            if not console.is_terminal:
                console.print(f"{escape(job.name)}: {result['status']} in {result['seconds']:.0f} s")
        client.unsubscribe_topic(TOPIC)
    return results


def _result_of(future: Future, job: Job) -> dict:
    if future.status == "finished":
        return future.result()
    if future.status == "error":
        return _failure(job, future.exception())
    raise CourseError(
        "The Dask scheduler went away; what is finished is kept, and the same command goes on from there."
    )


def _failure(job: Job, error: BaseException) -> dict:
    with suppress(OSError):
        job.record.unlink(missing_ok=True)  # else the pages would show an earlier run, and call it passed
    told = {"cell": "", "message": f"{type(error).__name__}: {error}"}
    return {"name": job.name, "status": "failed", "seconds": 0.0, "records": [], "error": told}


def _run_job(job: Job, limit: float) -> dict:
    """Execute one job on a worker; output and record appear whole or not at all."""

    def tell(done: int, total: int) -> None:
        get_worker().log_event(TOPIC, {"name": job.name, "done": done, "total": total})

    tell(0, 1)
    fingerprint = job.fingerprint()
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=job.output.parent) as folder:
            partial = Path(folder) / job.output.name
            result = execute(job.notebook, partial, job.parameters, tell, job.environment, limit)
            result |= {"name": job.name, "parameters": job.parameters, "fingerprint": fingerprint}
            record = partial.with_suffix(".json")
            record.write_text(json.dumps(result, indent=1), encoding="utf-8")
            job.record.unlink(missing_ok=True)  # an old record never stands beside a new output
            os.replace(partial, job.output)
            os.replace(record, job.record)
    except OSError as error:  # the disk is full, say; Dask would log a traceback
        return _failure(job, error)
    return result | {"reused": False}


def _last_success(job: Job) -> dict | None:
    last = read_json(job.record)
    if last is None or not job.output.exists():
        return None
    same = last.get("status") == "passed" and last.get("fingerprint") == job.fingerprint()
    return last | {"reused": True} if same else None


@contextmanager
def _alone_in(folder: Path):
    """Let one run at a time write to a folder, and clear what killed runs and killed workers left."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            _clear_partials(folder)
            try:
                yield
            finally:
                _clear_partials(folder)
    except Timeout:
        raise CourseError(f"Another run is writing to {folder.name}/; wait until it has finished.") from None


def _clear_partials(folder: Path) -> None:
    for partial in folder.glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
