"""What a run shows at its end: a table on the terminal, and where the notebooks have written to."""

from pathlib import Path

from rich.table import Table

from course_utils.data.project_folder import earlier_projects


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


def written_folders(results: list[dict]) -> list[str]:
    """Return a sentence for each folder that a notebook has written, with what is kept of earlier runs beside it."""
    sentences = []
    for result in results:
        if folder := result.get("folder"):
            kept = ", ".join(path.name for path in earlier_projects(Path(folder)))
            sentences.append(f"{result['name']} wrote {folder}" + (f"; earlier ones are kept: {kept}" if kept else ""))
    return sentences


def _headline(record: dict) -> str:
    """Return one figure beside its band, such as ``frozen_10 0.62 (0.58 to 0.66)``."""
    if record["low"] is None:
        band = "no band"
    elif record["high"] is None:
        band = f"at least {record['low']:.3g}"
    else:
        band = f"{record['low']:.3g} to {record['high']:.3g}"
    return f"{record['name']} {record['value']:.3g} ({band})"
