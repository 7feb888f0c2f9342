"""What a run shows at its end: a table on the terminal."""

from rich.table import Table


def result_table(results: list[dict]) -> Table:
    """Return the table of a run: notebook, minutes, headline figures beside their bands, status."""
    table = Table("Notebook", "Minutes", "Headline results (band)", "Status")
    table.columns[1].justify = "right"
    for result in results:
        colour = "green" if result["status"] == "passed" else "red"
        status = result["status"] + (" (unchanged)" if result.get("reused") else "")
        headlines = "\n".join(_headline(record) for record in result["records"])
        table.add_row(result["name"], f"{result['seconds'] / 60:.1f}", headlines, f"[{colour}]{status}[/]")
    return table


def _headline(record: dict) -> str:
    """Return one figure beside its band, such as ``frozen_10 0.62 (0.58 to 0.66)``."""
    if record["low"] is None:
        band = "no band"
    elif record["high"] is None:
        band = f"at least {record['low']:.3g}"
    else:
        band = f"{record['low']:.3g} to {record['high']:.3g}"
    return f"{record['name']} {record['value']:.3g} ({band})"
