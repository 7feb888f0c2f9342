"""Time several ways to do the same, in turn: what else the machine does then falls on all of them alike."""

import time
from collections.abc import Callable

import numpy as np

ROUNDS = {"smoke": 1, "default": 5, "full": 9}
THREADS = 2  # for everyone who is compared

# Does its work once, and returns the result with the seconds that it took.
Contender = Callable[[], tuple[np.ndarray, float]]


def clocked(work: Callable[[], np.ndarray]) -> Contender:
    """Return the work as a contender, timed in this process."""

    def run() -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        result = work()
        return result, time.perf_counter() - start

    return run


def time_rounds(contenders: dict[str, Contender], rounds: int) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Run all contenders once to warm up, then in rounds.

    Parameters
    ----------
    contenders : dict of str to callable
        See `clocked` and `Peer.contender`.
    rounds : int
        At least 1.

    Returns
    -------
    results : dict of str to ndarray
        What each computed while it warmed up.
    seconds : dict of str to list of float
        One time for each round.
    """
    results = {name: run()[0] for name, run in contenders.items()}
    seconds = {name: [] for name in contenders}
    for number in range(rounds):
        # Every other round goes backwards, so that nobody always runs behind the same one.
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            seconds[name].append(contenders[name]()[1])
    return results, seconds
