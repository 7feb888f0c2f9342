"""The Dask cluster that hands out notebooks: threads of this process, or a cluster that is already there.

What they hand out are processes, see `course_tools.run.execute`, so a thread a notebook is enough.
"""

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster, Security
from distributed.core import rpc

from course_utils.errors import CourseError
from course_utils.settings import ROOT

ANSWER_SECONDS = 10  # for a scheduler to answer
WORKER_SECONDS = 30  # for its first worker to be there


@contextmanager
def open_cluster(workers: int, scheduler: str | None, folder: Path) -> Iterator[Client]:
    """Yield a client of a Dask cluster whose workers write to an existing folder.

    It is the one at the address `scheduler`, such as ``tcp://10.0.0.5:8786``, or without an address a local one that
    runs as many notebooks at a time as `workers` says.

    Raises a CourseError when no scheduler answers, it has no workers, or a worker does not see this checkout and
    ``folder``.
    """
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is told in a sentence instead
    connect = _connection(scheduler) if scheduler is not None else _local_client(workers)
    with connect as client:
        if scheduler is not None:
            _check_workers(client, scheduler, folder)
        yield client


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        dask.config.set({"temporary-directory": scratch}),  # else a folder stays among the temporary files
        LocalCluster(
            n_workers=1,
            threads_per_worker=workers,
            processes=False,
            memory_limit=0,  # the notebooks' processes are none of its own
            dashboard_address="127.0.0.1:0",  # any free port; by default it is 8787, with a warning where that is taken
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,  # what goes wrong is told in a sentence
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _connection(scheduler: str) -> Client:
    try:
        kind = asyncio.run(asyncio.wait_for(_identity(scheduler), ANSWER_SECONDS))["type"]
        if kind != "Scheduler":
            raise OSError(f"it is a {kind.lower()}'s")
        return Client(scheduler, timeout=ANSWER_SECONDS)
    except Exception as error:  # each scheme and each kind of stranger at the port fails in its own way
        raise CourseError(
            f"No Dask scheduler answers at {scheduler!r}; its address looks like tcp://10.0.0.5:8786 "
            f"({str(error) or 'silence'})."
        ) from None


async def _identity(address: str) -> dict:
    """Ask who listens at an address; a `Client` would wait without end for one that is silent."""
    security = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER_SECONDS, connection_args=security) as listener:
        return await listener.identity()


def _check_workers(client: Client, scheduler: str, folder: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise CourseError(
            f"The Dask scheduler at {scheduler} has no worker after {WORKER_SECONDS} s; "
            f"start one with `dask worker {scheduler}`."
        ) from None
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as token:
        answers = client.run(_what_it_sees, token, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, Exception):
            raise CourseError(
                f"The worker {worker} cannot import the course ({type(answer).__name__}: {answer}); "
                "start it with the Python in which the course is installed."
            )
        root, found = answer
        if root != str(ROOT):
            raise CourseError(
                f"The worker {worker} has the course in {root}, this machine in {ROOT}; the path must be the same."
            )
        if not found:
            raise CourseError(f"The worker {worker} does not see {folder}; all workers must share this folder.")


def _what_it_sees(token: str) -> tuple[str, bool]:
    return str(ROOT), Path(token).exists()
