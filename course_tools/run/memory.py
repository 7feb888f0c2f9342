"""How much memory a kernel takes, with all processes that it starts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAMPLING_SECONDS = 0.5
GIGABYTE = 1e9


class Peak:
    """The largest sum seen so far, in gigabytes (10**9 bytes) of resident memory."""

    gigabytes = 0.0


@contextmanager
def memory_of_new_children() -> Iterator[Peak]:
    """Watch the processes that this one starts within the block, and theirs; what ran before does not count."""
    this, peak, finished = psutil.Process(), Peak(), threading.Event()
    before = set(this.children(recursive=True))

    def watch() -> None:
        while not finished.wait(SAMPLING_SECONDS):
            new = set(this.children(recursive=True)) - before
            peak.gigabytes = max(peak.gigabytes, sum(map(_resident, new)) / GIGABYTE)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        finished.set()
        watcher.join()


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0
