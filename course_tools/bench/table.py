"""The lines of a benchmark: what was measured, beside what, and whether the goal is met."""

from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True)
class Spread:
    """Median and range of a figure over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what : str
        What was measured.
    ours : float
        The course's figure, in `unit`: the median over rounds.
    unit : str
    peer : str
        What it is compared with; empty for a figure that has only a limit.
    theirs : float, optional
        The peer's figure.
    ratio : Spread, optional
        Ours over theirs, each taken within one round.
    goal : str
        Such as "at least 2"; empty without one.
    met : bool, optional
        Whether the median meets the goal; None without one.
    required : bool
        A goal that decides whether the benchmark passes: both sides computed the same.
    """

    what: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None
    ratio: Spread | None = None
    goal: str = ""
    met: bool | None = None
    required: bool = False


def versus(
    what: str, unit: str, ours: list[float], peer: str, theirs: list[float], at_least: float | None = None
) -> Row:
    """Compare two rates, each measured once in every round.

    Parameters
    ----------
    what, unit, peer : str
        See `Row`.
    ours, theirs : list of float
        Rates in the order of the rounds, such as images a second; more is better.
    at_least : float, optional
        The goal for the median of the ratio.

    Returns
    -------
    Row

    Raises
    ------
    ValueError
        If the two have not the same number of rounds.
    """
    ratio = Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])
    goal = {} if at_least is None else {"goal": f"at least {at_least:g}", "met": ratio.median >= at_least}
    return Row(what, median(ours), unit, peer, median(theirs), ratio, **goal)


def limit(what: str, unit: str, value: float, at_most: float | None = None, required: bool = False) -> Row:
    """Hold one figure against a limit; less is better.

    Parameters
    ----------
    what, unit : str
        See `Row`.
    value : float
    at_most : float, optional
        The goal.
    required : bool
        See `Row`.

    Returns
    -------
    Row
    """
    # A difference that is not a number meets nothing.
    goal = {} if at_most is None else {"goal": f"at most {at_most:g}", "met": bool(value <= at_most)}
    return Row(what, float(value), unit, required=required, **goal)


def bench_table(rows: list[Row]) -> Table:
    """Return the lines as a table for the terminal."""
    table = Table("What", "Ours", "Beside", "Theirs", "Ratio (range)", "Goal", "")
    for row in rows:
        mark = {None: "", True: "[green]met[/]", False: "[bold red]missed[/]"}[row.met]
        theirs = "" if row.theirs is None else f"{_number(row.theirs)} {row.unit}"
        ratio = "" if row.ratio is None else str(row.ratio)
        table.add_row(row.what, f"{_number(row.ours)} {row.unit}".strip(), row.peer, theirs, ratio, row.goal, mark)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
