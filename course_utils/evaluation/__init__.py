"""Measure, draw, and hold a notebook's figures to what its text says."""

from course_utils.evaluation.curves import plot_history, plot_learning_curves
from course_utils.evaluation.expectations import Band, BandError, Expectations, read_bands
from course_utils.evaluation.inputs import class_probabilities
from course_utils.evaluation.metrics import classification_metrics, mean_and_interval, prediction_interval
from course_utils.evaluation.pictures import plot_embedding, plot_images
from course_utils.evaluation.plots import plot_confusion_matrix, plot_precision_recall, plot_roc
from course_utils.evaluation.report import Evaluation, evaluate
from course_utils.evaluation.source import show_source
from course_utils.evaluation.style import PALETTE, ROLE_COLOURS, use_course_style

__all__ = [
    "PALETTE",
    "ROLE_COLOURS",
    "Band",
    "BandError",
    "Evaluation",
    "Expectations",
    "class_probabilities",
    "classification_metrics",
    "evaluate",
    "mean_and_interval",
    "plot_confusion_matrix",
    "plot_embedding",
    "plot_history",
    "plot_images",
    "plot_learning_curves",
    "plot_precision_recall",
    "plot_roc",
    "prediction_interval",
    "read_bands",
    "show_source",
    "use_course_style",
]
