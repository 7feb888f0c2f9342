"""One call for a classifier's report: metrics, a table by class, and the displays of scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from IPython.display import display
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay, classification_report

from course_utils.evaluation.inputs import class_probabilities, names_of_classes, predicted_classes, true_labels
from course_utils.evaluation.metrics import classification_metrics


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; as the last line of a cell it shows itself.

    Attributes
    ----------
    metrics : dict of str to float
        See `classification_metrics`.
    table : DataFrame
        precision, recall, f1-score and support (number of true samples) by class; what cannot be computed is NaN.
    figures : dict of str to Figure
        "confusion_matrix", and for two classes "curves" (ROC, precision-recall). They belong to no
        window, so they are shown only where asked for.
    """

    metrics: dict[str, float]
    table: pandas.DataFrame
    figures: dict[str, Figure]

    def _ipython_display_(self) -> None:
        summary = pandas.DataFrame([self.metrics], index=["all"]).rename(columns=lambda name: name.replace("_", " "))
        for item in (summary.round(3), self.table.round(3), *self.figures.values()):
            display(item)


def evaluate(
    y_true: ArrayLike, scores: ArrayLike, class_names: Sequence[str] | None = None, threshold: float | None = None
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

    Raises
    ------
    CourseError
        For logits, NaN, one-hot or unknown labels, lengths that differ, or a wrong number of names.
    """
    probabilities = class_probabilities(scores)
    labels = true_labels(y_true, *probabilities.shape)
    names = names_of_classes(class_names, probabilities.shape[1])
    predicted = predicted_classes(probabilities, threshold)
    report = classification_report(
        labels, predicted, labels=range(len(names)), target_names=names, output_dict=True, zero_division=np.nan
    )
    return Evaluation(
        metrics=classification_metrics(labels, probabilities, threshold),
        table=pandas.DataFrame(report).T.head(len(names)),
        figures=_figures(labels, probabilities, predicted, names),
    )


def _figures(labels, probabilities, predicted, names: list[str]) -> dict[str, Figure]:
    # Figures made without pyplot are not shown a second time when a notebook's cell ends.
    side = 3.2 + 0.5 * len(names)
    matrix = Figure(figsize=(side + 0.8, side), layout="constrained")
    matrix.set_label("Confusion matrix: number of samples of each true and predicted class")
    ConfusionMatrixDisplay.from_predictions(
        labels, predicted, labels=range(len(names)), display_labels=names, cmap="Blues", colorbar=False,
        xticks_rotation="vertical" if len(names) > 3 else "horizontal", ax=matrix.subplots(),
    )  # fmt: skip
    if len(names) > 2:
        return {"confusion_matrix": matrix}
    curves = Figure(figsize=(10, 4.8), layout="constrained")
    curves.set_label("ROC curve and precision-recall curve")
    left, right = curves.subplots(1, 2)
    RocCurveDisplay.from_predictions(labels, probabilities[:, 1], plot_chance_level=True, ax=left)
    PrecisionRecallDisplay.from_predictions(labels, probabilities[:, 1], plot_chance_level=True, ax=right)
    return {"confusion_matrix": matrix, "curves": curves}
