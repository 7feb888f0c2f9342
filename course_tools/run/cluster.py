"""The Dask cluster that notebooks run on: processes of this machine, or a cluster that is already there."""

import asyncio
import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin
from distributed.core import Status, rpc

from course_utils.errors import CourseError
from course_utils.settings import ROOT

ANSWER_SECONDS = 10  # for a scheduler to answer
WORKER_SECONDS = 30  # for its first worker to be there
ROOM = {"notebook": 1}  # what a task that runs a notebook asks of its worker


class RoomForOneNotebook(WorkerPlugin):
    """Gives each worker, also one that joins later, room for one notebook, however many threads it has.

    A notebook takes gigabytes of memory, and to run one changes the environment of the worker's process.
    """

    def __init__(self):
        self.name = f"course-{uuid.uuid4()}"  # a run takes back only its own plugin

    async def setup(self, worker: Worker) -> None:
        # Waiting notebooks are looked at again when a worker goes from paused to running, not when it gains room.
        worker.status = Status.paused
        await worker.set_resources(**ROOM)
        worker.status = Status.running


@contextmanager
def open_cluster(workers: int, scheduler: str | None, folder: Path) -> Iterator[Client]:
    """Yield a client of a cluster whose workers take one notebook each at a time and write to ``folder``.

    Parameters
    ----------
    workers
        Processes of the local cluster; without effect on one that is already there.
    scheduler
        Address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``; ``None`` starts a local cluster.
    folder
        An existing folder into which the workers will write.

    Raises
    ------
    CourseError
        When no scheduler answers, it has no workers, or a worker does not see this checkout and ``folder``.
    """
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is told in a sentence instead
    connect = _connection(scheduler) if scheduler is not None else _local_client(workers)
    with connect as client:
        if scheduler is not None:
            _check_workers(client, scheduler, folder)
        room = RoomForOneNotebook()
        client.register_plugin(room)
        try:
            yield client
        finally:
            with suppress(Exception):  # a scheduler that is gone has nothing to take back
                client.unregister_worker_plugin(room.name)


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port; by default it is 8787, with a warning where that is taken
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.ERROR,  # a slow machine's workers are late to close, which is no one's concern
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
            f"The Dask scheduler at {scheduler} has no worker after {WORKER_SECONDS} s; start one with `dask worker {scheduler}`."
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
