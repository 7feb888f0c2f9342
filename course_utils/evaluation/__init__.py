"""Measure, draw, and hold a notebook's figures to what its text says."""

from course_utils.evaluation.bootstrap import bootstrap_interval
from course_utils.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    plot_reliability,
    with_temperature,
)
from course_utils.evaluation.curves import plot_history, plot_learning_curves
from course_utils.evaluation.expectations import Band, BandError, Expectations, read_bands
from course_utils.evaluation.images import plot_embedding, plot_images
from course_utils.evaluation.inputs import class_probabilities
from course_utils.evaluation.measured import plot_measured
from course_utils.evaluation.metrics import (
    classification_metrics,
    confidence_interval,
    mean_and_interval,
    mean_plus_minus,
    prediction_interval,
)
from course_utils.evaluation.plots import plot_confusion_matrix, plot_precision_recall, plot_roc
from course_utils.evaluation.report import Evaluation, evaluate
from course_utils.evaluation.source import show_source
from course_utils.evaluation.style import PALETTE, ROLE_COLOURS, use_course_style
from course_utils.evaluation.thresholds import (
    choose_threshold,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)

__all__ = [
    "PALETTE",
    "ROLE_COLOURS",
    "Band",
    "BandError",
    "Evaluation",
    "Expectations",
    "bootstrap_interval",
    "calibration_error",
    "choose_threshold",
    "class_probabilities",
    "classification_metrics",
    "confidence_interval",
    "evaluate",
    "fit_temperature",
    "mean_and_interval",
    "mean_plus_minus",
    "plot_confusion_matrix",
    "plot_embedding",
    "plot_history",
    "plot_images",
    "plot_learning_curves",
    "plot_measured",
    "plot_precision_recall",
    "plot_reliability",
    "plot_roc",
    "prediction_interval",
    "read_bands",
    "sensitivity_at_specificity",
    "show_source",
    "threshold_at_sensitivity",
    "threshold_at_specificity",
    "use_course_style",
    "with_temperature",
]
