"""Keep what compiled libraries write to the terminal out of a notebook's outputs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stderr_to(path: str | Path = os.devnull) -> Iterator[None]:
    """Send the process's error stream to a file, also what does not pass through Python.

    TensorFlow greets on it before its log level can be set, and a kernel would store the greeting.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with open(path, "wb") as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
