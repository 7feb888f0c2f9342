"""One call for a classifier's report: metrics, a table by class, and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas
import sklearn.metrics
from IPython.display import display
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from course_utils.evaluation.inputs import (
    class_probabilities,
    names_of_classes,
    predicted_classes,
    true_labels,
)
from course_utils.evaluation.metrics import classification_metrics
from course_utils.evaluation.plots import plot_confusion_matrix, plot_precision_recall, plot_roc


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; as the last line of a cell it shows itself.

    Attributes
    ----------
    metrics : dict of str to float
        See `classification_metrics`.
    table : DataFrame
        precision, recall, F1 and support (number of true samples) by class; recall and F1 of a class without
        true samples are NaN.
    figures : dict of str to Figure
        "confusion_matrix", and for two classes "curves" (ROC, precision-recall). They belong to no
        window, so they are shown only where asked for.
    """

    metrics: dict[str, float]
    table: pandas.DataFrame
    figures: dict[str, Figure]

    def show(self) -> None:
        """Display the metrics, the table and every figure, once each."""
        summary = pandas.DataFrame([self.metrics], index=["all"]).rename(columns=lambda name: name.replace("_", " "))
        display(summary.round(3))
        display(self.table.round(3))
        for figure in self.figures.values():
            display(figure)

    def _ipython_display_(self) -> None:
        self.show()


def evaluate(
    y_true: ArrayLike,
    scores: ArrayLike,
    class_names: Sequence[str] | None = None,
    threshold: float | None = None,
) -> Evaluation:
    """Evaluate a classifier's probabilities against the true labels.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        Labels 0 .. k - 1; one-hot labels are refused.
    scores : array-like of shape (n,), (n, 1) or (n, k)
        Probabilities: one column is that of class 1 (a sigmoid), k >= 2 columns are a softmax.
    class_names : sequence of str, optional
        One name a class; "class 0", "class 1", ... without it.
    threshold : float, optional
        Of two classes, class 1 is predicted where its probability is above it; 0.5 without.

    Returns
    -------
    Evaluation

    Raises
    ------
    CourseError
        For logits, NaN, one-hot or unknown labels, lengths that differ, or a wrong number of names.
    """
    probabilities = class_probabilities(scores)
    labels = true_labels(y_true, *probabilities.shape)
    names = names_of_classes(class_names, probabilities.shape[1])
    return Evaluation(
        metrics=classification_metrics(labels, probabilities, threshold),
        table=_table(labels, predicted_classes(probabilities, threshold), names),
        figures=_figures(labels, probabilities, names, threshold),
    )


def _table(labels: np.ndarray, predicted: np.ndarray, names: list[str]) -> pandas.DataFrame:
    columns = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(names)), zero_division=0
    )
    table = pandas.DataFrame(dict(zip(["precision", "recall", "F1", "support"], columns, strict=True)), index=names)
    table.loc[table["support"] == 0, ["recall", "F1"]] = np.nan
    return table


def _figures(
    labels: np.ndarray, probabilities: np.ndarray, names: list[str], threshold: float | None
) -> dict[str, Figure]:
    # Figures made without pyplot are not shown a second time when a notebook's cell ends.
    side = 3.2 + 0.5 * len(names)
    matrix = Figure(figsize=(side + 0.8, side), layout="constrained")
    plot_confusion_matrix(labels, probabilities, names, matrix.subplots(), threshold)
    if len(names) > 2:
        return {"confusion_matrix": matrix}
    curves = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = curves.subplots(1, 2)
    plot_roc(labels, probabilities, ax=left)
    plot_precision_recall(labels, probabilities, ax=right)
    return {"confusion_matrix": matrix, "curves": curves}
