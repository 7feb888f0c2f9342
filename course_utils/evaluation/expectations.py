"""Headline figures and the bands they must lie in: a notebook whose claim no longer holds stops."""

import json
import math
import numbers
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from course_utils.errors import CourseError
from course_utils.evaluation.metrics import half_width

BANDS_PATH = Path(__file__).with_name("bands.toml")


class BandError(AssertionError):
    """A measured figure contradicts what the notebook says."""


@dataclass(frozen=True)
class Band:
    """Where a figure lay over seeds, and where one more run must lie.

    `mean` and `std` describe the runs over `seeds`. A figure with a baseline or a broken variant has their
    `contrast` (mean, lowest, highest) and is compared: one more run must lie from `low` to `high`, and its
    contrast outside. `high` is infinite for ratios of times (`timing`). A figure without a contrast is
    recorded as information: `low` and `high` are None.
    """

    mean: float
    std: float
    low: float | None = None
    high: float | None = None
    contrast: float | None = None
    contrast_low: float | None = None
    contrast_high: float | None = None
    seeds: Sequence[int] = ()
    timing: bool = False

    @property
    def half_width(self) -> float:
        """Half the width of the 95% confidence interval of the mean."""
        return half_width(self.std, len(self.seeds))

    def interval(self, digits: int = 3) -> str:
        """Return "0.58 to 0.66", or "at least 12" without an upper bound."""
        low, high = _rounded(self.low, digits), _rounded(self.high, digits)
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def read_bands(path: Path | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the file of bands.

    Parameters
    ----------
    path : Path, optional
        A TOML file; `BANDS_PATH` by default.

    Returns
    -------
    dict
        ``[notebook][profile]`` holds ``"bands"`` (name to `Band`) and whatever else was written beside them
        (``"seeds"``, ``"versions"``). Empty when there is no such file. A band without
        its own ``seeds`` takes those of its profile.

    Raises
    ------
    CourseError
        When the file is not TOML, or a band lacks a field or has an unknown one.
    """
    path = BANDS_PATH if path is None else Path(path)
    if not path.exists():
        return {}
    try:
        notebooks = tomllib.loads(path.read_text(encoding="utf-8"))
        for table in [table for profiles in notebooks.values() for table in profiles.values()]:
            shared = {"seeds": table.get("seeds", [])}
            table["bands"] = {name: Band(**shared | values) for name, values in table.get("bands", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:  # no TOML or no UTF-8; other fields; no table
        raise CourseError(f"{path} is no file of bands: {error}; `course bands` writes it.") from None
    return notebooks


class Whole(pd.DataFrame):
    """A table that shows all its rows in one piece, however many and wide they are."""

    def __repr__(self) -> str:
        return self.to_string()

    def _repr_html_(self) -> str:
        return self.to_html(notebook=True)


class Expectations:
    """Compare the headline figures of one notebook with their bands.

    ``expect = Expectations("02_feature_extraction", PROFILE)``, then ``expect("frozen_10", accuracy, contrast=.1)``
    for each figure and `table` at the end. When the variable ``COURSE_RECORDS`` names a file, every call appends
    one line of JSON to it; with ``COURSE_MEASURE=1`` nothing is compared, which is how the bands are measured.

    Parameters
    ----------
    notebook, profile : str
        The tables of the file of bands, see `read_bands`.
    """

    def __init__(self, notebook: str, profile: str):
        self.notebook = notebook
        self.profile = profile
        self._bands = read_bands().get(notebook, {}).get(profile, {}).get("bands", {})
        self._runs: dict[str, tuple[float, float | None]] = {}

    def __call__(
        self,
        name: str,
        value: float,
        contrast: float | None = None,
        timing: bool = False,
        limits: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        """Record one figure; compare it with its band where it has a contrast.

        Parameters
        ----------
        name : str
            An identifier, the figure's name in the file of bands.
        value : float
            What was measured.
        contrast : float, optional
            The same figure of the baseline or broken variant; it must lie outside the band. Without one the
            figure is information, and nothing is compared.
        timing : bool
            The value is a ratio of times: only its lower bound is compared.
        limits : tuple of float
            What is possible, such as (0, 1) for an accuracy; a band is cut to it when it is measured.

        Raises
        ------
        BandError
            When the value is outside its band, or the contrast inside it.
        CourseError
            For a name that is no identifier, or a value that is no finite number within its limits.
        """
        _check_call(name, value, contrast, limits)
        band = self._bands.get(name)
        self._runs[name] = (value, contrast)
        self._record(name, value, contrast, timing, limits, band)
        if contrast is not None and band is not None and os.environ.get("COURSE_MEASURE") != "1":
            self._compare(name, value, contrast, timing, band)

    def table(self) -> pd.DataFrame:
        """Return this run beside the runs of the bands, mean ± half-width of its 95% interval; a row a figure.

        Returns
        -------
        DataFrame
            Indexed by name: ``this run``, ``compared with`` (the contrast of this run), ``N runs: mean ± 95%``.
        """
        runs = max((len(band.seeds) for band in self._bands.values()), default=0)
        rows = {
            name: {
                "this run": _rounded(value),
                "compared with": "" if contrast is None else _rounded(contrast),
                f"{runs} runs: mean ± 95%": self._measured(name),
            }
            for name, (value, contrast) in self._runs.items()
        }
        return Whole(pd.DataFrame.from_dict(rows, orient="index"))

    def _measured(self, name: str) -> str:
        band = self._bands.get(name)
        return "not measured" if band is None else f"{_rounded(band.mean)} ± {_rounded(band.half_width, 2)}"

    def _compare(self, name: str, value: float, contrast: float, timing: bool, band: Band) -> None:
        place = f"{name} ({self.notebook}, profile {self.profile})"
        if band.timing != timing or band.low is None:
            raise CourseError(f"{place} was measured as another kind of figure: run `course bands` again.")
        if value not in band:
            side = "below" if value < band.low else "above"
            raise BandError(
                f"{place}: measured {value:.6g}, {side} its band ({band.interval(6)}); the runs on which the text "
                f"rests gave {_rounded(band.mean)} (SD {_rounded(band.std)}), so its claim does not hold in this run."
            )
        if contrast in band:
            raise BandError(
                f"{place}: the contrast measured {contrast:.6g}, inside the band ({band.interval(6)}) of the figure "
                "it is compared with, so this run does not show the difference that the text claims."
            )

    def _record(self, name, value, contrast, timing, limits, band) -> None:
        file = os.environ.get("COURSE_RECORDS")
        if not file:
            return
        compared = band is not None and band.low is not None
        record = {
            "notebook": self.notebook,
            "profile": self.profile,
            "name": name,
            "value": float(value),
            "contrast": None if contrast is None else float(contrast),
            "timing": bool(timing),
            # JSON has no infinity: an open side has no limit.
            "limits": [_finite_or_none(limit) for limit in limits],
            "low": band.low if compared else None,
            "high": _finite_or_none(band.high) if compared else None,
            "inside": value in band if compared else None,
        }
        # Unbuffered, so that the line is one write and notebooks running side by side do not mix theirs.
        with Path(file).open("ab", buffering=0) as records:
            records.write((json.dumps(record, allow_nan=False) + "\n").encode())


def _finite_or_none(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _check_call(name: str, value: float, contrast: float | None, limits: tuple[float, float]) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise CourseError(f"The name of an expectation is {name!r}; accepted is an identifier such as 'frozen_10'.")
    for role, number in [("value", value), ("contrast", contrast)]:
        if role == "contrast" and number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(number):
            raise CourseError(f"The {role} of {name} is {number!r}; accepted is a finite number.")
        if not limits[0] <= number <= limits[1]:
            raise CourseError(f"The {role} of {name} is {number!r}, outside its limits {limits[0]} to {limits[1]}.")


def _rounded(number: float, digits: int = 3) -> str:
    """Significant digits, without an exponent for everyday sizes."""
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:.10f}".rstrip("0").rstrip(".") if 1e-4 <= abs(rounded) < 1e6 else f"{rounded:g}"
