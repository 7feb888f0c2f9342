"""Measure, draw, and hold a notebook's figures to what its text says."""

from course_utils.evaluation.bootstrap import bootstrap_interval
from course_utils.evaluation.curves import plot_history, plot_learning_curves
from course_utils.evaluation.expectations import Band, BandError, Expectations, read_bands
from course_utils.evaluation.images import plot_images
from course_utils.evaluation.inputs import class_probabilities
from course_utils.evaluation.measured import plot_measured
from course_utils.evaluation.metrics import (
    classification_metrics,
    confidence_interval,
    mean_and_interval,
    mean_plus_minus,
    prediction_interval,
)
from course_utils.evaluation.report import Evaluation, evaluate
from course_utils.evaluation.source import show_source
from course_utils.evaluation.style import PALETTE, ROLE_COLOURS, use_course_style
from course_utils.evaluation.thresholds import (
    choose_threshold,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
