"""Headline figures and the bands they must lie in: a notebook whose claim no longer holds stops."""

import json
import math
import numbers
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from course_utils.settings import ROOT, CourseError

BANDS_PATH = ROOT / "data" / "bands.toml"


class BandError(AssertionError):
    """A measured figure contradicts what the notebook says."""


@dataclass(frozen=True)
class Band:
    """Where a figure lay over seeds, and where one more run must lie.

    `low` and `high` bound the next run (`high` is infinite for ratios of times, `timing`), `mean` and `std`
    describe the runs over `seeds`; the `contrast` fields (mean, lowest, highest) describe the baseline or
    broken variant that the band must exclude, and are None without one.
    """

    low: float
    high: float
    mean: float
    std: float
    contrast: float | None = None
    contrast_low: float | None = None
    contrast_high: float | None = None
    seeds: tuple[int, ...] = ()
    timing: bool = False

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
        (``"seconds"``, ``"seeds"``, ``"versions"``). Empty when there is no such file. A band without
        its own ``seeds`` takes those of its profile.

    Raises
    ------
    CourseError
        When the file is not TOML or a band lacks a field, has an unknown one, or is not an interval.
    """
    path = BANDS_PATH if path is None else Path(path)
    if not path.exists():
        return {}
    try:
        notebooks = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} is not a TOML file: {error}.") from None
    for notebook, profiles in notebooks.items():
        for profile, table in _table(profiles, f"{notebook} in {path.name}").items():
            place = f"{notebook}.{profile}.bands in {path.name}"
            bands = _table(_table(table, place).get("bands", {}), place).items()
            table["bands"] = {
                name: _read_band(values, table.get("seeds", []), f"{name} of {place}") for name, values in bands
            }
    return notebooks


class Expectations:
    """Compare the headline figures of one notebook with their bands.

    ``expect = Expectations("02_feature_extraction", PROFILE)``, then ``expect("frozen_10", accuracy)``.
    When the variable ``COURSE_RECORDS`` names a file, every call appends one line of JSON to it;
    with ``COURSE_MEASURE=1`` nothing is compared, which is how the bands are measured.

    Parameters
    ----------
    notebook, profile : str
        The tables of the file of bands, see `read_bands`.
    """

    def __init__(self, notebook: str, profile: str):
        self.notebook = notebook
        self.profile = profile
        self._bands = read_bands().get(notebook, {}).get(profile, {}).get("bands", {})

    def __call__(self, name: str, value: float, contrast: float | None = None, timing: bool = False) -> None:
        """Compare one figure and print one line that is the same on every machine.

        Parameters
        ----------
        name : str
            An identifier, the figure's name in the file of bands.
        value : float
            What was measured.
        contrast : float, optional
            The same figure of the baseline or broken variant; it must lie outside the band.
        timing : bool
            The value is a ratio of times: only its lower bound is compared.

        Raises
        ------
        BandError
            When the value is outside its band, or the contrast inside it.
        CourseError
            For a name that is no identifier, or a value that is no finite number.
        """
        _check_call(name, value, contrast)
        band = self._bands.get(name)
        self._record(name, value, contrast, timing, band)
        if os.environ.get("COURSE_MEASURE") == "1":
            print(f"{name}: measuring")
        elif band is None:
            print(f"{name}: no band for profile {self.profile}")
        else:
            self._compare(name, value, contrast, timing, band)
            where = band.interval() if math.isinf(band.high) else f"inside its band {band.interval()}"
            print(f"{name}: {where}" + ("; contrast outside" if contrast is not None else ""))

    def _compare(self, name: str, value: float, contrast: float | None, timing: bool, band: Band) -> None:
        if band.timing != timing:
            raise CourseError(
                f"{name} is called with timing={timing} but its band was measured with timing={band.timing}."
            )
        place = f"{name} ({self.notebook}, profile {self.profile})"
        if value not in band:
            side = "below" if value < band.low else "above"
            raise BandError(
                f"{place}: measured {value:.6g}, {side} its band ({band.interval(6)}); the runs on which the text "
                f"rests gave {_rounded(band.mean)} ± {_rounded(band.std)}, so its claim does not hold in this run."
            )
        if contrast is not None and contrast in band:
            raise BandError(
                f"{place}: the contrast measured {contrast:.6g}, inside the band ({band.interval(6)}) of the figure "
                "it is compared with, so this run does not show the difference that the text claims."
            )

    def _record(self, name: str, value: float, contrast: float | None, timing: bool, band: Band | None) -> None:
        file = os.environ.get("COURSE_RECORDS")
        if not file:
            return
        record = {
            "notebook": self.notebook,
            "profile": self.profile,
            "name": name,
            "value": float(value),
            "contrast": None if contrast is None else float(contrast),
            "timing": bool(timing),
            "low": band and band.low,
            # JSON has no infinity: an open band has no upper bound.
            "high": band.high if band and math.isfinite(band.high) else None,
            "inside": band and value in band,
        }
        # Unbuffered, so that the line is one write and notebooks running side by side do not mix theirs.
        with Path(file).open("ab", buffering=0) as records:
            records.write((json.dumps(record, allow_nan=False) + "\n").encode())


def _check_call(name: str, value: float, contrast: float | None) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise CourseError(f"The name of an expectation is {name!r}; accepted is an identifier such as 'frozen_10'.")
    for role, number in [("value", value), ("contrast", contrast)]:
        if role == "contrast" and number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(number):
            raise CourseError(f"The {role} of {name} is {number!r}; accepted is a finite number.")


def _table(values: Any, place: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise CourseError(f"{place} is {values!r}; accepted is a table.")
    return values


def _read_band(values: Any, seeds: list[int], place: str) -> Band:
    values = {"seeds": seeds} | _table(values, place)
    known = {field.name for field in fields(Band)}
    if unknown := sorted(values.keys() - known):
        raise CourseError(f"{place} has the unknown field {unknown[0]!r}; accepted are {', '.join(sorted(known))}.")
    try:
        band = Band(**{**values, "seeds": tuple(values["seeds"])})
        ordered = band.low <= band.mean <= band.high
    except TypeError as error:
        raise CourseError(f"{place} cannot be read: {error}.") from None
    if not ordered:
        raise CourseError(f"{place} is not an interval: low {band.low}, mean {band.mean}, high {band.high}.")
    return band


def _rounded(number: float, digits: int = 3) -> str:
    """Significant digits, without an exponent for everyday sizes."""
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:.10f}".rstrip("0").rstrip(".") if 1e-4 <= abs(rounded) < 1e6 else f"{rounded:g}"
