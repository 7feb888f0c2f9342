"""A grid of parameters over notebooks, run as jobs and gathered into one table."""

import ast
import hashlib
import itertools
import math
import re
from pathlib import Path

import pandas as pd
from rich.markup import escape
from rich.table import Table

from course_tools.notebooks import Notebook
from course_tools.parameters import default_parameters, parse_parameter, profile_parameters
from course_tools.run.job import BUILD, Job
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import mean_and_interval
from course_utils.whole_file import replacing

MOST_RUNS = 1_000
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
OUT = "OUT"  # the parameter that names the folder which a notebook writes
SEED = "SEED"  # the parameter over which the table takes means
COLUMNS = ["notebook", "figure", "value", "contrast", "timing", "seconds"]


def sweep_jobs(
    notebooks: list[Notebook], profile: str, given: dict[str, str], paths: dict[Notebook, Path] | None = None
) -> list[Job]:
    """Return a job for every combination of the given values, for each notebook, which must have all these parameters.

    Bands hold for the stored parameters alone, so the jobs record their figures and compare nothing. All runs take the
    values of `profile`, but for those `given`: names and values as typed, see `parse_values`. `paths` are files to
    execute instead of the stored notebooks; the same code in another file makes the same runs.

    A notebook that writes a folder ``OUT`` gets one for each run, beside the executed notebook.

    Raises a CourseError for a bad value, an ``OUT`` that several runs would share, or more than 1,000 runs.
    """
    files = {notebook: (paths or {}).get(notebook, notebook.path) for notebook in notebooks}
    fixed = {notebook: profile_parameters(notebook, profile, path) for notebook, path in files.items()}
    grids = {notebook: _grid(path, given) for notebook, path in files.items()}
    runs = sum(math.prod(map(len, grid.values())) for grid in grids.values())
    if runs > MOST_RUNS:
        raise CourseError(f"This sweep would take {runs:,} runs; accepted are at most {MOST_RUNS:,}.")
    jobs = [
        _job(notebook, files[notebook], fixed[notebook], dict(zip(grid, combination, strict=True)))
        for notebook, grid in grids.items()
        for combination in itertools.product(*grid.values())
    ]
    written = [job.parameters[OUT] for job in jobs if OUT in job.parameters]
    if len(set(written)) < len(written):
        raise CourseError(f"Several runs of this sweep would write the same folder; leave {OUT} out, each has its own.")
    return jobs


def parse_values(name: str, text: str, default: object) -> list[str]:
    """Split the values of one parameter as typed: ``0..9``, ``0,1,5..7``, ``A,B``, or lists ``['A','B'],['C']``.

    Ranges include both ends and are for parameters that are whole numbers. Lists are written as in Python.
    """
    if isinstance(default, list | tuple | dict):
        try:
            return [repr(value) for value in ast.literal_eval(f"[{text}]")]
        except (ValueError, SyntaxError):
            return [text]
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise CourseError(f"{name} has an empty value in {text!r}; write one comma between two values, such as 0,1,2.")
    if type(default) is int:
        parts = [value for part in parts for value in _counted(name, part)]
    return parts


def gather(jobs: list[Job], results: list[dict], names: list[str]) -> pd.DataFrame:
    """Return a row per figure of each run that passed: notebook, parameters of these names, figure, value and so on."""
    rows = [
        [job.notebook.key, *(shown(job.parameters[name]) for name in names), record["name"]]
        + [record["value"], record["contrast"], record["timing"], result["seconds"]]
        for job, result in zip(jobs, results, strict=True)
        if result["status"] == "passed"
        for record in result["records"]
    ]
    return pd.DataFrame(rows, columns=[COLUMNS[0], *names, *COLUMNS[1:]])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, half-width of its 95% interval and number of runs of each figure over the seeds.

    One row per notebook, figure and combination of the other parameters; one run has no interval.
    """
    keys = [name for name in table.columns if name not in {SEED, *COLUMNS[2:]}]
    rows = []
    for group, values in table.groupby(keys, sort=False)["value"]:
        mean, half = mean_and_interval(values) if len(values) > 1 else (values.iloc[0], math.nan)
        rows.append(dict(zip(keys, group, strict=True)) | {"mean": mean, "half_width": half, "n": len(values)})
    return pd.DataFrame(rows, columns=[*keys, "mean", "half_width", "n"])


def summary_table(summary: pd.DataFrame) -> Table:
    """Return the summary for the terminal; parameters with a single value stand in its title."""
    names = [name for name in summary.columns if name not in ("notebook", "figure", "mean", "half_width", "n")]
    varied = [name for name in names if summary[name].nunique() > 1]
    title = ", ".join(f"{name}={summary[name].iloc[0]}" for name in names if name not in varied and len(summary))
    table = Table("Notebook", *varied, "Figure", "Mean ± 95%", "n", title=escape(title), title_justify="left")
    for row in summary.to_dict("records"):
        half = "" if math.isnan(row["half_width"]) else f" ± {row['half_width']:.2g}"
        cells = [row["notebook"], *(row[name] for name in varied), row["figure"], f"{row['mean']:.3g}{half}", row["n"]]
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def write_csv(table: pd.DataFrame) -> Path:
    """Write the gathered figures to ``build/sweep.csv``, whole or not at all, and return its path."""
    path = BUILD / "sweep.csv"
    with replacing(path) as partial:
        table.to_csv(partial, index=False)
    return path


def shown(value: object) -> object:
    """Return a value as tables and names show it: a list as its members with + between."""
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return value if isinstance(value, str | int | float) else str(value)


def _grid(path: Path, given: dict[str, str]) -> dict[str, list[object]]:
    defaults, grid = default_parameters(path), {}
    for name, text in given.items():
        typed = parse_values(name, text, defaults.get(name))
        grid[name] = [parse_parameter(path, defaults, name, value) for value in typed]
        labels = [shown(value) for value in grid[name]]
        for position, label in enumerate(labels):
            if label in labels[:position]:
                raise CourseError(f"{name} has the value {label} twice in {text!r}; each value is run once.")
    return grid


def _counted(name: str, part: str) -> list[str]:
    match = RANGE.fullmatch(part)
    if match is None:
        return [part]
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise CourseError(f"The range {part} of {name} is empty; write the smaller end first, {last}..{first}.")
    if last - first >= MOST_RUNS:
        raise CourseError(
            f"The range {part} of {name} has {last - first + 1:,} values; accepted are at most {MOST_RUNS:,} runs."
        )
    return [str(value) for value in range(first, last + 1)]


def _job(notebook: Notebook, path: Path, fixed: dict[str, object], varied: dict[str, object]) -> Job:
    parameters = dict(sorted((fixed | varied).items()))
    named = {"PROFILE": fixed["PROFILE"]} | varied if "PROFILE" in fixed else varied
    label = ",".join(f"{name}={shown(value)}" for name, value in sorted(named.items()))
    # The hash keeps apart what the file name cannot: long lists, odd characters, upper and lower case.
    digest = hashlib.sha256(repr(parameters).encode()).hexdigest()[:8]
    file = f"{re.sub(r'[^A-Za-z0-9_.=,+-]', '_', label)[:80]}-{digest}.ipynb"
    name = f"{notebook.key.removesuffix(notebook.name[2:])} {label}"
    output = BUILD / "sweep" / notebook.key / file
    if OUT in default_parameters(path) and OUT not in parameters:
        parameters[OUT] = str(output.with_suffix(""))
    return Job(name, notebook, path, output, parameters, measuring=True)
