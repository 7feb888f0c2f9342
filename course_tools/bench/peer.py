"""Scripts of `peers/`, run with a Python of their own: the course itself depends on no PyTorch."""

import os
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import numpy as np

from course_tools.bench.rounds import ROUNDS, THREADS, Contender, time_rounds
from course_utils.errors import CourseError
from course_utils.settings import ROOT

ENVIRONMENT = ROOT / ".venv-peers"
SCRIPTS = Path(__file__).parent / "peers"
MISSING = "There is no .venv-peers/ with PyTorch; `make .venv-peers/ready` sets it up."
LAST_LINES = 12
# OpenMP and MKL serve PyTorch, Rayon the tokenizers of Hugging Face.
VARIABLES = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}


def peers_python() -> Path | None:
    """Return the Python of the peers, or None when it is not set up."""
    places = (ENVIRONMENT / "bin" / "python", ENVIRONMENT / "Scripts" / "python.exe")
    return next((path for path in places if path.exists()), None)


def needed_python() -> Path:
    """Return the Python of the peers; raise a CourseError when it is not set up."""
    if not (python := peers_python()):
        raise CourseError(MISSING)
    return python


class Peer:
    """A script of `peers/` that loads its model once and then computes what it is asked for, timed over there.

    It finds `arrays`, what to compute on, by name in ``inputs.npz``.
    """

    def __init__(self, script: str, **arrays: np.ndarray):
        self._folder = tempfile.TemporaryDirectory(prefix="course-peer-")
        self._path = Path(self._folder.name)
        np.savez(self._path / "inputs.npz", **arrays)
        self._log = (self._path / "log").open("wb")
        self._process = subprocess.Popen(
            [needed_python(), SCRIPTS / script, self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | VARIABLES,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def contender(self, name: str) -> Contender:
        """Return one of the script's ways to compute, for `time_rounds`."""

        def run() -> tuple[np.ndarray, float]:
            seconds = self._ask(name)
            with np.load(self._path / f"{name}.npz") as file:
                return file["result"], seconds

        return run

    def _ask(self, name: str) -> float:
        try:
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
            return float(self._process.stdout.readline())
        except (OSError, ValueError):
            self._process.wait()
            said = (self._path / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            raise CourseError("\n".join([f"The peer broke off while it computed {name!r}:", *said])) from None


def time_beside(own: dict[str, Contender], profile: str, script: str, names: list[str], **arrays: np.ndarray):
    """Run `time_rounds` over contenders of this process, and over those of a script where the peers are set up."""
    with Peer(script, **arrays) if peers_python() else nullcontext() as peer:
        theirs = {name: peer.contender(name) for name in names} if peer else {}
        return time_rounds(own | theirs, ROUNDS[profile])
