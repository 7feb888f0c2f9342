"""Time several ways to do the same, in turn: what else the machine does then falls on all of them alike."""

import time
from collections.abc import Callable

import numpy as np

ROUNDS = {"smoke": 1, "default": 5, "full": 9}
THREADS = 2  # for everyone who is compared

# Does its work once, and returns the result with the seconds that it took.
Contender = Callable[[], tuple[np.ndarray, float]]


def limit_threads() -> None:
    """Give TensorFlow and NumPy `THREADS` threads; it must come before TensorFlow computes anything."""
    import tensorflow as tf
    from threadpoolctl import threadpool_limits

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    threadpool_limits(THREADS, user_api="blas")


def clocked(work: Callable[[], np.ndarray]) -> Contender:
    """Return the work as a contender, timed in this process."""

    def run() -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        result = work()
        return result, time.perf_counter() - start

    return run


def time_rounds(contenders: dict[str, Contender], rounds: int) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Run all contenders once to warm up, then in rounds, see `clocked` and `Peer.contender`.

    Returns what each computed while it warmed up, and for each the seconds of every round.
    """
    results = {name: run()[0] for name, run in contenders.items()}
    seconds = {name: [] for name in contenders}
    for number in range(rounds):
        # Every other round goes backwards, so that nobody always runs behind the same one.
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            seconds[name].append(contenders[name]()[1])
    return results, seconds
