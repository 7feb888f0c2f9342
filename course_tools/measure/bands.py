"""Bands: what a notebook's headline figures may be, measured over seeds."""

import importlib.metadata
import math
import platform
import statistics
from collections.abc import Callable

import nbformat

from course_tools.build.compose import compose
from course_tools.measure.records import update_bands, update_seconds
from course_tools.notebooks import Notebook
from course_tools.parameters import check_parameters
from course_tools.run.jobs import BUILD, Job, run_jobs
from course_utils.errors import CourseError
from course_utils.evaluation.metrics import prediction_interval

PACKAGES = ("tensorflow", "keras", "keras-hub", "numpy", "scikit-learn")
TIMING_SHARE = 0.6  # a ratio of times may fall to this share of the smallest one measured
LEAST_SHARE = 0.005  # other processors round differently, also where the seeds agree exactly


def measure_bands(notebook: Notebook, profile: str, seeds: int, workers: int, given: dict[str, str]) -> dict:
    """Run a notebook once per seed, and write what its headline figures may be to ``course_utils/evaluation/bands.toml``.

    Parameters
    ----------
    notebook
        Which notebook; it is composed from its source.
    profile
        The profile to measure.
    seeds
        How many runs, with ``SEED`` = 0, 1, …; at least 2.
    workers
        Runs at a time; 1 measures times undisturbed.
    given
        Parameters as typed, other than the stored ones, for a notebook that keeps bands of their own for
        them, as 07 does for its phantom.

    Returns
    -------
    dict
        The record written: ``seconds``, ``seeds``, ``versions`` and ``bands``.

    Raises
    ------
    CourseError
        When a run fails, when a band would admit the variant it is contrasted with, or when figures of other
        parameters would be written over those of the stored ones.
    """
    if seeds < 2:
        raise CourseError(f"A band needs at least 2 seeds to have a spread; got {seeds}.")
    folder = BUILD / "bands" / notebook.name / "-".join([profile, *given.values()])
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / notebook.path.name
    nbformat.write(compose(notebook, measured=False), draft)
    parameters = check_parameters(draft, given)
    jobs = [
        Job(
            f"{notebook.number} seed {seed}",
            draft,
            folder / f"seed{seed}.ipynb",
            {"PROFILE": profile, "SEED": seed} | parameters,
            {"COURSE_MEASURE": "1"},
        )
        for seed in range(seeds)
    ]
    results = run_jobs(jobs, workers)  # runs that are done and unchanged are not repeated
    failed = [result for result in results if result["status"] != "passed"]
    if failed:
        error = failed[0]["error"]
        raise CourseError(f"{failed[0]['name']} failed in the cell\n{error['cell']}\n{error['message']}")
    recorded_as = profile_of([result["records"] for result in results], profile, given)
    record = {
        "seconds": round(statistics.median(result["seconds"] for result in results), 1),
        "seeds": list(range(seeds)),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "bands": bands_from([result["records"] for result in results]),
    }
    update_seconds(notebook.key, recorded_as, record.pop("seconds"))
    update_bands(notebook.key, recorded_as, record)
    return record


def profile_of(runs: list[list[dict]], profile: str, given: dict[str, str]) -> str:
    """Return under which name the notebook recorded its figures: the profile's, or one of its own for the given parameters."""
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

    A band is the 99% prediction interval for one more run; of a ratio of times it is
    one-sided. A band that admits its contrast is refused, for it could not fail.
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
    mean, contrasts = (
        statistics.fmean(values),
        [record["contrast"] for record in records if record["contrast"] is not None],
    )
    if records[0]["timing"]:
        low, high = TIMING_SHARE * min(values), math.inf
    else:
        low, high = prediction_interval(values)
        reach = LEAST_SHARE * abs(mean)
        low, high = min(low, mean - reach), max(high, mean + reach)
    if any(low <= contrast <= high for contrast in contrasts):
        raise CourseError(
            f"The band of {name}, {low:.4g} to {high:.4g}, admits its contrast ({min(contrasts):.4g} to {max(contrasts):.4g}): "
            "it could not tell right from wrong."
        )
    band = {
        "low": _outward(low, math.floor),
        "high": _outward(high, math.ceil),
        "mean": mean,
        "std": statistics.stdev(values),
        "timing": records[0]["timing"],
    }
    if contrasts:
        band |= {
            "contrast": statistics.fmean(contrasts),
            "contrast_low": min(contrasts),
            "contrast_high": max(contrasts),
        }
    return {key: value if isinstance(value, bool) else float(f"{value:.4g}") for key, value in band.items()}


def _outward(bound: float, rounding: Callable[[float], int]) -> float:
    """Round a bound to three digits, away from the band, so that the printed band is the compared one."""
    if bound == 0 or math.isinf(bound):
        return bound
    unit = 10.0 ** (math.floor(math.log10(abs(bound))) - 2)
    return rounding(bound / unit) * unit
