"""Many notebooks at once on a Dask cluster, resumable and with a live progress display."""

import threading
from contextlib import ExitStack
from pathlib import Path

from distributed import Client, Future, Reschedule, as_completed, get_worker
from distributed.core import Status
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from course_tools.run.alone import alone_in
from course_tools.run.cluster import open_cluster
from course_tools.run.job import Job
from course_tools.settings import LIMIT_MINUTES
from course_utils.errors import CourseError

TOPIC = "course-progress"
ROOM = threading.Lock()  # for one notebook on a worker of a cluster: each takes up to 6 GB of memory
SHOWN = 20  # of more jobs than these, only those at work have a line


def run_jobs(
    jobs: list[Job], workers: int, scheduler: str | None = None, force: bool = False, limit: float = LIMIT_MINUTES
) -> list[dict]:
    """Execute jobs in parallel and return their results in order.

    As many notebooks as `workers` says run at a time on this machine; instead, `scheduler` is the address of a Dask
    cluster, whose workers need this checkout at the same path. A notebook is stopped after `limit` minutes; one that
    fails does not stop the others. A job whose fingerprint is that of its last success is not run again unless
    ``force``.

    The results are as ``execute`` returns them, with ``name``, ``fingerprint``, ``parameters`` and ``reused``.
    """
    results = {} if force else {job.output: last for job in jobs if (last := job.last_success())}
    waiting = [job for job in jobs if job.output not in results]
    if waiting:
        with ExitStack() as stack:
            folders = sorted({job.output.parent for job in waiting})
            for folder in folders:
                stack.enter_context(alone_in(folder, f"Another run is writing to {folder.name}/"))
            client = stack.enter_context(open_cluster(min(workers, len(waiting)), scheduler, folders[0]))
            results |= _run_on(client, waiting, limit, alone=scheduler is not None)
    return [results[job.output] for job in jobs]


def _run_on(client: Client, jobs: list[Job], limit: float, alone: bool) -> dict[Path, dict]:
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
            client.submit(_run_job, job, limit, alone, pure=False, priority=-position): job
            for position, job in enumerate(jobs)
        }
        results = {}
        for future in as_completed(futures):
            job = futures[future]
            results[job.output] = result = _result_of(future, job)
            progress.update(bars[job.name], visible=few, note=result["status"])
            progress.stop_task(bars[job.name])
            progress.update(whole, completed=len(results), note=f"{len(results)}/{len(jobs)}")
            if not console.is_terminal:
                console.print(f"{escape(job.name)}: {result['status']} in {result['seconds']:.0f} s")
        client.unsubscribe_topic(TOPIC)
    return results


def _run_job(job: Job, limit: float, alone: bool) -> dict:
    """Run a job on a worker, telling how many of its cells are done; give it up when the worker closes.

    ``alone`` gives it back to the scheduler while this worker, whatever its threads, runs another.
    """
    worker, told = get_worker(), None

    def tell(done: int, total: int) -> None:
        nonlocal told
        if worker.status in (Status.closing, Status.closed):
            raise Reschedule
        if told != done:
            worker.log_event(TOPIC, {"name": job.name, "done": done, "total": total})
            told = done

    if alone and not ROOM.acquire(timeout=1):
        raise Reschedule
    try:
        tell(0, 1)
        return job.run(limit, tell)
    finally:
        if alone:
            ROOM.release()


def _result_of(future: Future, job: Job) -> dict:
    if future.status == "finished":
        return future.result()
    if future.status == "error":
        return job.failure(future.exception())
    raise CourseError(
        "The Dask scheduler went away; what is finished is kept, and the same command goes on from there."
    )
