"""A figure of what an experiment measured over its runs, for the lesson that quotes it."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from course_utils.errors import CourseError
from course_utils.evaluation.expectations import read_bands
from course_utils.evaluation.style import MARKERS

SHIFT = 0.05  # between the series, so that their intervals do not hide each other


def plot_measured(notebook: str, series: Mapping[str, Sequence[str]], ticks: Sequence[str]) -> Axes:
    """Draw measured figures as means with the 95% intervals of these means, a line for each series.

    Parameters
    ----------
    notebook : str
        Whose figures, such as ``"experiments/02_feature_extraction"``.
    series : mapping of str to sequence of str
        The text of a line in the legend, and the names of its figures, one for each tick.
    ticks : sequence of str
        Texts along the x axis.

    Returns
    -------
    Axes

    Raises
    ------
    CourseError
        If a figure has not been measured, or a series has another length than `ticks`.
    """
    bands = read_bands().get(notebook, {}).get("default", {}).get("bands", {})
    figure, ax = plt.subplots(figsize=(9, 4.6))
    for position, (text, names) in enumerate(series.items()):
        if missing := [name for name in names if name not in bands]:
            raise CourseError(f"{notebook} has no measured figure {missing[0]!r}: run `course bands`.")
        if len(names) != len(ticks):
            raise CourseError(f"The series {text!r} has {len(names)} figures; {len(ticks)} ticks need as many.")
        x = np.arange(len(ticks)) + SHIFT * (position - (len(series) - 1) / 2)
        means, widths = zip(*[(bands[name].mean, bands[name].half_width) for name in names], strict=True)
        ax.errorbar(x, means, widths, marker=MARKERS[position], capsize=4, label=text)
    ax.set_xticks(range(len(ticks)), ticks)
    runs = len(bands[names[0]].seeds)
    ax.set_title(f"Mean of {runs} runs and its 95% interval")
    ax.grid(axis="y", alpha=0.4)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
