"""The lines of a benchmark: what was measured, beside what, and whether the goal is met."""

from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: float  # in `unit`, the median over rounds
    unit: str
    peer: str = ""  # what it is compared with; empty for a figure that has only a limit
    theirs: float | None = None
    ratio: tuple[float, float, float] | None = None  # ours over theirs within one round: median, smallest, largest
    goal: str = ""  # such as "at least 2"
    met: bool | None = None  # by the median; None without a goal
    required: bool = False  # this goal decides whether the benchmark passes: both sides computed the same


def versus(
    what: str, unit: str, ours: list[float], peer: str, theirs: list[float], at_least: float | None = None
) -> Row:
    """Compare two rates, such as images a second, each measured once in every round; more is better.

    The goal `at_least` is for the median of the ratio. Raises a ValueError if the two have not the same number of
    rounds.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = (median(ratios), min(ratios), max(ratios))
    goal = {} if at_least is None else {"goal": f"at least {at_least:g}", "met": ratio[0] >= at_least}
    return Row(what, median(ours), unit, peer, median(theirs), ratio, **goal)


def limit(what: str, unit: str, value: float, at_most: float | None = None, required: bool = False) -> Row:
    """Hold one figure against a limit; less is better, and what is not a number meets nothing."""
    goal = {} if at_most is None else {"goal": f"at most {at_most:g}", "met": bool(value <= at_most)}
    return Row(what, float(value), unit, required=required, **goal)


def bench_table(rows: list[Row]) -> Table:
    """Return the lines as a table for the terminal."""
    table = Table("What", "Ours", "Beside", "Theirs", "Ratio (range)", "Goal", "")
    for row in rows:
        mark = {None: "", True: "[green]met[/]", False: "[bold red]missed[/]"}[row.met]
        theirs = "" if row.theirs is None else f"{_number(row.theirs)} {row.unit}"
        ratio = "" if row.ratio is None else "{:.2f} ({:.2f} to {:.2f})".format(*row.ratio)
        table.add_row(row.what, f"{_number(row.ours)} {row.unit}".strip(), row.peer, theirs, ratio, row.goal, mark)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
