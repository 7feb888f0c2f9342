"""Results over epochs and over training size."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from course_utils.errors import CourseError
from course_utils.evaluation.metrics import confidence_interval
from course_utils.evaluation.style import MARKERS, PALETTE, ROLE_COLOURS


def plot_history(history: Any) -> np.ndarray:
    """Draw what `fit` recorded, training against validation, one panel for the loss and for each metric.

    Parameters
    ----------
    history : keras.callbacks.History or dict of str to list of float
        The learning rate, if it was recorded, is left out.

    Returns
    -------
    ndarray of Axes
    """
    records = getattr(history, "history", history)
    if not isinstance(records, Mapping) or not records:
        raise CourseError(f"history is {history!r}; accepted is what fit() returned after one epoch or more.")
    names = [name for name in records if not name.startswith("val_") and name != "learning_rate"]
    names.sort(key=lambda name: name != "loss")
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 3.8), squeeze=False)
    for name, ax in zip(names, axes[0], strict=True):
        epochs = range(1, len(records[name]) + 1)
        marker = "o" if len(epochs) <= 20 else None
        ax.plot(epochs, records[name], label="training", color=PALETTE[0], marker=marker)
        if validation := records.get(f"val_{name}"):
            ax.plot(epochs, validation, label="validation", color=PALETTE[1], marker=marker, linestyle="--")
        ax.set_xlim(0.5, len(epochs) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        title = name[:1].upper() + name[1:].replace("_", " ")  # "AUC" stays as it is
        ax.set(title=title, xlabel="epoch")
        ax.grid(axis="y", alpha=0.4)
    axes[0, 0].legend()
    return axes[0]


def plot_learning_curves(frame: pandas.DataFrame, x: str, y: str, hue: str, ax: Axes | None = None) -> Axes:
    """Draw a result over training size as mean and 95% t-interval over the repeated rows (seeds).

    Parameters
    ----------
    frame : DataFrame
        One row a run.
    x, y, hue : str
        Columns: size (positive numbers; drawn on a logarithmic axis with a tick at each measured size),
        result, and method.
    ax : Axes, optional
    """
    if missing := {x, y, hue} - set(frame):
        raise CourseError(f"The frame has no column {missing.pop()!r}; its columns are {', '.join(map(str, frame))}.")
    if frame.empty or frame[[x, y, hue]].isna().any(axis=None) or (frame[x] <= 0).any():
        raise CourseError(f"The frame is empty, or holds NaN; accepted are results at sizes {x!r} above 0.")
    ax = plt.subplots()[1] if ax is None else ax
    methods = frame[hue].nunique()
    if methods > len(MARKERS):
        raise CourseError(f"The column {hue!r} holds {methods} methods; accepted are at most {len(MARKERS)}.")
    runs = frame.groupby([hue, x]).size().max()
    seaborn.lineplot(
        frame, x=x, y=y, hue=hue, style=hue, errorbar=confidence_interval, markers=list(MARKERS[:methods]),
        dashes=False, palette=_palette(frame[hue].unique()), err_kws={"alpha": 0.18, "linewidth": 0}, ax=ax,
    )  # fmt: skip
    sizes = sorted(frame[x].unique())
    ax.set_xscale("log")
    ax.set_xticks(sizes)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y", alpha=0.4)
    ax.legend(title=None)
    title = f"Mean and 95% interval over {runs} runs" if runs > 1 else "One run at each size"
    ax.set(title=title, xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    return ax


def _palette(methods: Sequence[str]) -> dict[str, str]:
    """Give a method its role's colour where it has one, and the others the colours that are left."""
    taken = {ROLE_COLOURS.get(method) for method in methods}
    free = iter([colour for colour in PALETTE if colour not in taken])
    return {method: ROLE_COLOURS.get(method) or next(free) for method in methods}
