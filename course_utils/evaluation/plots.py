"""How a classifier does: confusion matrix, ROC and precision-recall curve.

Each takes `ax`, makes a figure without one, and returns the Axes. A notebook shows a figure of pyplot once, at the
end of its cell; a closing semicolon keeps the text of the returned Axes out.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn
import sklearn.metrics
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_utils.evaluation.inputs import (
    class_probabilities,
    names_of_classes,
    positive_scores,
    predicted_classes,
    true_labels,
)
from course_utils.evaluation.style import ROLE_COLOURS, next_colour, unit_square


def plot_confusion_matrix(
    y_true: ArrayLike,
    scores: ArrayLike,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    threshold: float | None = None,
) -> Axes:
    """Draw true classes in rows and predicted classes in columns, with counts; the shade is the share of the row.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
    scores : array-like of shape (n,), (n, 1) or (n, k)
        Probabilities.
    class_names : sequence of str, optional
    ax : Axes, optional
    threshold : float, optional
        Of two classes, class 1 is predicted where its probability is above it; 0.5 without.

    Returns
    -------
    Axes
    """
    probabilities = class_probabilities(scores)
    labels = true_labels(y_true, *probabilities.shape)
    names = names_of_classes(class_names, probabilities.shape[1])
    predicted = predicted_classes(probabilities, threshold)
    counts = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(len(names)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = 3.2 + 0.5 * len(names)
        ax = plt.subplots(figsize=(side + 0.8, side))[1]
    seaborn.heatmap(
        shares, annot=counts, fmt="d", vmin=0, vmax=1, cmap="Blues", cbar=False, square=True, linewidths=1.5,
        xticklabels=names, yticklabels=names, ax=ax,
    )  # fmt: skip
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    if max(map(len, names)) > 4 and len(names) > 3:
        ax.tick_params(axis="x", rotation=45)
        plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    ax.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    return ax


def plot_roc(y_true: ArrayLike, scores: ArrayLike, label: str = "model", ax: Axes | None = None) -> Axes:
    """Draw the ROC curve of a two-class problem; call again with the same `ax` to compare models.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    label : str
        Name in the legend, where the area under the curve is added.
    ax : Axes, optional

    Returns
    -------
    Axes

    References
    ----------
    Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006),
    https://doi.org/10.1016/j.patrec.2005.10.010
    """
    labels, positive = positive_scores(y_true, scores)
    false_positive, true_positive, _ = sklearn.metrics.roc_curve(labels, positive)
    area = sklearn.metrics.roc_auc_score(labels, positive)
    ax = unit_square(ax)
    ax.set(title="ROC curve", xlabel="1 - specificity", ylabel="sensitivity")
    if not ax.lines:
        ax.plot([0, 1], [0, 1], color=ROLE_COLOURS["reference"], linestyle=":", label="chance (AUC 0.5)")
    ax.plot(
        false_positive,
        true_positive,
        label=f"{label} (AUC {area:.3f})",
        color=next_colour(ax),
        clip_on=False,
    )
    ax.legend(loc="lower right")
    return ax


def plot_precision_recall(y_true: ArrayLike, scores: ArrayLike, label: str = "model", ax: Axes | None = None) -> Axes:
    """Draw the precision-recall curve of a two-class problem; call again with the same `ax` to compare models.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        0 or 1, both present.
    scores : array-like of shape (n,), (n, 1) or (n, 2)
        Probabilities.
    label : str
        Name in the legend, where the average precision is added.
    ax : Axes, optional

    Returns
    -------
    Axes

    References
    ----------
    Saito & Rehmsmeier, "The precision-recall plot is more informative than the ROC plot when evaluating binary
    classifiers on imbalanced datasets", PLOS ONE 10 (2015), https://doi.org/10.1371/journal.pone.0118432
    """
    labels, positive = positive_scores(y_true, scores)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, positive)
    average = sklearn.metrics.average_precision_score(labels, positive)
    ax = unit_square(ax)
    ax.set(title="Precision-recall curve", xlabel="recall (sensitivity)", ylabel="precision")
    if not ax.lines:
        share = labels.mean()
        ax.axhline(share, color=ROLE_COLOURS["reference"], linestyle=":", label=f"chance (AP {share:.3f})")
    ax.plot(
        recall,
        precision,
        drawstyle="steps-post",
        label=f"{label} (AP {average:.3f})",
        color=next_colour(ax),
        clip_on=False,
    )
    ax.legend(loc="lower left")
    return ax
