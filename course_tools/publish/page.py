"""What a run shows at its end: a table on the terminal, and HTML pages of the executed notebooks."""

import html
from pathlib import Path

import nbformat
from rich.table import Table

from course_tools.publish.offline_html import OfflineExporter
from course_utils.whole_file import read_json, replacing

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The executed course</title>
<style>
  body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 3rem auto; padding: 0 1rem; color: #222; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; vertical-align: top; padding: .5rem .75rem; border-bottom: 1px solid #ddd; }}
  td.number {{ text-align: right; white-space: nowrap; }}
  .failed {{ color: #b00020; font-weight: 600; }}
</style></head><body>
<h1>The executed course</h1>
<table><thead><tr><th>Notebook</th><th>Minutes</th><th>Headline results and their bands</th><th>Status</th></tr></thead>
<tbody>
{rows}
</tbody></table></body></html>
"""


def headline(record: dict) -> str:
    """Return one figure beside its band, such as ``frozen_10 0.62 (0.58 to 0.66)``."""
    if record["low"] is None:
        band = "no band"
    elif record["high"] is None:
        band = f"at least {record['low']:.3g}"
    else:
        band = f"{record['low']:.3g} to {record['high']:.3g}"
    return f"{record['name']} {record['value']:.3g} ({band})"


def result_table(results: list[dict]) -> Table:
    """Return the table of a run: notebook, minutes, headline results beside their bands, status."""
    table = Table("Notebook", "Minutes", "Headline results (band)", "Status")
    table.columns[1].justify = "right"
    for result in results:
        colour = "green" if result["status"] == "passed" else "red"
        headlines = "\n".join(headline(record) for record in result["records"])
        table.add_row(result["name"], _minutes(result), headlines, f"[{colour}]{_status(result)}[/]")
    return table


def write_pages(folder: Path) -> Path:
    """Write an HTML page for each executed notebook in ``folder``, and an index; return the index's path.

    A page is written anew only when it is older than its notebook.
    """
    exporter, rows = OfflineExporter(), []
    # Other files of JSON lie here too: what the mutants and the benchmark found.
    records = [*folder.glob("*.json"), *folder.glob("experiments/*.json")]
    for record in sorted(path for path in records if path.with_suffix(".ipynb").exists()):
        result, executed, page = (read_json(record), record.with_suffix(".ipynb"), record.with_suffix(".html"))
        if result is None:
            continue
        if not page.exists() or page.stat().st_mtime < executed.stat().st_mtime:
            body, _ = exporter.from_notebook_node(
                nbformat.read(executed, as_version=4), {"metadata": {"name": record.stem}}
            )
            with replacing(page) as partial:
                partial.write_text(body, encoding="utf-8")
        rows.append(
            f'<tr><td><a href="{page.relative_to(folder).as_posix()}">{html.escape(result["name"])}</a></td>'
            f'<td class="number">{_minutes(result)}</td>'
            f'<td>{_folded(result)}</td><td class="{result["status"]}">{_status(result)}</td></tr>'
        )
    index = folder / "index.html"
    with replacing(index) as partial:
        partial.write_text(INDEX.format(rows="\n".join(rows)), encoding="utf-8")
    return index


def _folded(result: dict) -> str:
    """Return the figures of a notebook as a list that a click unfolds; of a failed one it is open."""
    headlines = "<br>".join(html.escape(headline(record)) for record in result["records"])
    count = len(result["records"])
    shown = "" if result["status"] == "passed" else " open"
    return f"<details{shown}><summary>{count} figure{'' if count == 1 else 's'}</summary>{headlines}</details>"


def _minutes(result: dict) -> str:
    return f"{result['seconds'] / 60:.1f}"


def _status(result: dict) -> str:
    return result["status"] + (" (unchanged)" if result.get("reused") else "")
