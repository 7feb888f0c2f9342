"""Bands: what a notebook's headline figures may be, measured over seeds."""

import importlib.metadata
import math
import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import nbformat

from course_tools.build.compose import compose
from course_tools.measure.records import update_bands, update_seconds
from course_tools.notebooks import Notebook
from course_tools.run.job import BUILD, Job
from course_tools.run.sweep import SEED, sweep_jobs
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import prediction_interval
from course_utils.whole_file import replacing

PACKAGES = ("tensorflow", "keras", "keras-hub", "numpy", "scikit-learn")
TIMING_SHARE = 0.6  # a ratio of times may fall to this share of the smallest one measured
LEAST_SHARE = 0.005  # other processors round differently, also where the seeds agree exactly


def bands_jobs(notebooks: list[Notebook], profile: str, seeds: int, given: dict[str, str]) -> list[Job]:
    """Return the jobs of a sweep over ``SEED`` = 0, 1, …, at least 2, of the notebooks as their sources make them.

    Notebooks need not be built. `given` are parameters as typed, other than the stored ones, for a notebook that keeps
    bands of their own for them, as 07 does for its phantom.
    """
    if seeds < 2:
        raise CourseError(f"A band needs at least 2 seeds to have a spread; got {seeds}.")
    paths = {notebook: _draft(notebook) for notebook in notebooks}
    jobs = sweep_jobs(notebooks, profile, {SEED: f"0..{seeds - 1}"} | given, paths)
    if len(jobs) > seeds * len(notebooks):
        raise CourseError(
            "Bands hold for one set of parameters: give one value for each -p, and compare by `course sweep`."
        )
    return jobs


def write_bands(notebook: Notebook, profile: str, given: dict[str, str], results: list[dict]) -> dict[str, dict]:
    """Write the bands of a notebook, and its seconds, from the results of its runs; return the bands by name.

    Raises a CourseError when a band would admit the variant it is contrasted with, or when figures of other parameters
    would be written over those of the stored ones.
    """
    runs = [result["records"] for result in results]
    recorded_as, bands = profile_of(runs, profile, given), bands_from(runs)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    record = {"seeds": list(range(len(runs))), "versions": versions, "bands": bands}
    update_bands(notebook.key, recorded_as, record)
    seconds = statistics.median(result["seconds"] for result in results)
    update_seconds(notebook.key, recorded_as, round(seconds, 1))
    return bands


def profile_of(runs: list[list[dict]], profile: str, given: dict[str, str]) -> str:
    """Return under which name the figures were recorded: the profile's, or the notebook's own for these parameters."""
    names = {record["profile"] for run in runs for record in run}
    if len(names) != 1:
        raise CourseError(f"The figures were recorded under {len(names)} profiles; one is needed.")
    (name,) = names
    if given and name == profile:
        typed = " ".join(f"-p {key} {value}" for key, value in given.items())
        raise CourseError(
            f"Bands hold for the stored parameters, and the notebook keeps none of their own for {typed}."
        )
    return name


def bands_from(runs: list[list[dict]]) -> dict[str, dict]:
    """Return a band per figure from the records of several runs.

    A figure without contrast is information: mean and standard deviation. With one, its band is the 99% prediction
    interval for one more run, cut to the figure's limits; of a ratio of times it is one-sided. A band that admits
    its contrast is refused, for it could not fail.
    """
    bands = {}
    for name in dict.fromkeys(record["name"] for run in runs for record in run):
        records = [record for run in runs for record in run if record["name"] == name]
        if len(records) != len(runs):
            raise CourseError(f"{name} was recorded {len(records)} times in {len(runs)} runs; once per run is needed.")
        bands[name] = _band(name, records)
    return bands


def _band(name: str, records: list[dict]) -> dict:
    values = [record["value"] for record in records]
    contrasts = [record["contrast"] for record in records if record["contrast"] is not None]
    band = {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
    if contrasts:
        low, high = _bounds(values, records[0])
        if any(low <= contrast <= high for contrast in contrasts):
            raise CourseError(
                f"The band of {name}, {low:.4g} to {high:.4g}, admits its contrast ({min(contrasts):.4g} to "
                f"{max(contrasts):.4g}): it could not tell right from wrong."
            )
        band |= {"low": low, "high": high, "contrast": statistics.fmean(contrasts)}
        band |= {"contrast_low": min(contrasts), "contrast_high": max(contrasts)}
    timing = {"timing": True} if records[0]["timing"] else {}
    return {key: float(f"{value:.4g}") for key, value in band.items()} | timing


def _bounds(values: list[float], record: dict) -> tuple[float, float]:
    """Return the ends of a band, as they are printed and compared."""
    if record["timing"]:
        return _outward(TIMING_SHARE * min(values), math.floor), math.inf
    low, high = prediction_interval(values)
    mean = statistics.fmean(values)
    reach = LEAST_SHARE * abs(mean)
    low, high = _outward(min(low, mean - reach), math.floor), _outward(max(high, mean + reach), math.ceil)
    least, most = record["limits"]  # None where a side is open
    return (low if least is None else max(low, least)), (high if most is None else min(high, most))


def _outward(bound: float, rounding: Callable[[float], int]) -> float:
    """Round a bound to three digits, away from the band, so that the printed band is the compared one."""
    if bound == 0 or math.isinf(bound):
        return bound
    unit = 10.0 ** (math.floor(math.log10(abs(bound))) - 2)
    return rounding(bound / unit) * unit


def _draft(notebook: Notebook) -> Path:
    """Write the notebook as its source makes it: before its figures are measured it cannot be built."""
    path = BUILD / "sweep" / notebook.key / "source.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        nbformat.write(compose(notebook, measured=False), partial)
    return path
