"""Answer questions on standard input: each line names a way to compute, the answer is its seconds."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def serve(ways_for: Callable[[np.lib.npyio.NpzFile], dict[str, Callable[[], np.ndarray]]]) -> None:
    """Run what each line names, write the result to ``NAME.npz`` and answer with the seconds; end with the input.

    The folder is the script's argument; `ways_for` returns the ways to compute on the arrays of its ``inputs.npz``.
    """
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    ways = ways_for(np.load(folder / "inputs.npz"))
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        result = ways[name]()
        seconds = time.perf_counter() - start
        np.savez(folder / name, result=result)
        print(seconds, file=answers, flush=True)
