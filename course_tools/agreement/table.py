"""One comparison with a peer, and the table of all."""

import subprocess
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from rich.table import Table

from course_tools.bench.peer import Peer, needed_python

VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


@dataclass(frozen=True)
class Agreement:
    """One line of the table."""

    what: str
    peer: str  # the distribution, and after a comma what it is used for
    cases: int
    difference: float  # the largest; of texts, how many differ
    allowed: float

    @property
    def agrees(self) -> bool:
        return bool(self.difference <= self.allowed)  # not so for NaN


def compare(what: str, peer: str, ours: ArrayLike, theirs: ArrayLike, allowed: float) -> Agreement:
    """Compare two arrays with a row for each case; other shapes, and what is not finite, never agree."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape or ours.size == 0:
        difference = np.inf
    elif ours.dtype.kind == "U":
        difference = np.sum(ours != theirs)
    else:
        with np.errstate(invalid="ignore"):  # of two infinite numbers
            difference = np.abs(ours.astype(float) - theirs.astype(float)).max()
    return Agreement(what, peer, len(ours), float(difference), allowed)


def beside(script: str, given: dict[str, np.ndarray], rows: list[tuple]) -> list[Agreement]:
    """Compare what the course computed from `given` with what a script of the peers computes from it.

    A row is what it is, the peer, the name of its way in the script, the allowed difference, and the course's result,
    or a function that returns it once the peer has its own.
    """
    lines = []
    with Peer(script, **given) as peer:
        for what, name, way, allowed, ours in rows:
            theirs, _ = peer.contender(way)()
            lines.append(compare(what, name, ours() if callable(ours) else ours, theirs, allowed))
    return lines


def peer_versions(agreements: list[Agreement]) -> dict[str, str]:
    """Return the version of every distribution that the lines name, as installed beside the peers."""
    names = sorted({line.peer.split(",")[0] for line in agreements})
    command = [needed_python(), "-c", VERSIONS, *names]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(names, found, strict=True))


def agreement_table(agreements: list[Agreement], versions: dict[str, str]) -> Table:
    """Return the lines as a table for the terminal."""
    table = Table("What", "Peer", "Cases", "Largest difference", "Allowed", "Agrees")
    for line in agreements:
        name, comma, rest = line.peer.partition(",")
        mark = "[green]yes[/]" if line.agrees else "[bold red]no[/]"
        numbers = f"{line.cases:,}", f"{line.difference:.1e}", f"{line.allowed:.0e}"
        table.add_row(line.what, f"{name} {versions[name]}{comma}{rest}", *numbers, mark)
    return table
