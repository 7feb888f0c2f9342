import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from course_utils.errors import CourseError
from course_utils.evaluation.inputs import (
    class_probabilities,
    names_of_classes,
    positive_scores,
    predicted_classes,
    true_labels,
)
from course_utils.evaluation.metrics import (
    classification_metrics,
    confidence_interval,
    mean_and_interval,
    mean_plus_minus,
    prediction_interval,
)

# Imbalanced on purpose: macro, micro and weighted averages all differ, and so do argmax and threshold.
LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 0, 0, 1, 1, 0, 2, 0])
THREE = np.full((10, 3), 0.1)
THREE[np.arange(10), PREDICTED] = 0.8
BINARY = np.array([0, 0, 0, 0, 1, 1, 1])
SIGMOID = np.array([0.1, 0.2, 0.3, 0.9, 0.6, 0.7, 0.4])


def test_interval_of_known_values():
    # Student's t with 4 degrees of freedom is 2.776 at 97.5% and 4.604 at 99.5%; s of 1 .. 5 is sqrt(2.5).
    mean, half_width = mean_and_interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert half_width == pytest.approx(2.7764 * np.sqrt(2.5 / 5), rel=1e-4)
    assert confidence_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - half_width, 3 + half_width))
    assert mean_plus_minus([1, 2, 3, 4, 5]) == "3.000 ± 1.963"
    low, high = prediction_interval([1, 2, 3, 4, 5])
    assert (low + high) / 2 == pytest.approx(3)
    assert high - 3 == pytest.approx(4.6041 * np.sqrt(2.5 * 1.2), rel=1e-4)


def test_one_run_stands_without_an_interval():
    assert mean_plus_minus(pd.Series([0.25], index=[7])) == "0.250"


def test_intervals_cover_as_often_as_they_say():
    samples = np.random.default_rng(0).normal(size=(2000, 6))
    inside_mean = [abs(mean) <= half for mean, half in (mean_and_interval(row[:5]) for row in samples)]
    inside_next = [low <= row[5] <= high for row in samples for low, high in [prediction_interval(row[:5])]]
    assert np.mean(inside_mean) == pytest.approx(0.95, abs=0.02)
    assert np.mean(inside_next) == pytest.approx(0.99, abs=0.01)


@pytest.mark.parametrize("interval", [mean_and_interval, confidence_interval, prediction_interval])
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.5], "two or more"),
        ([], "two or more"),
        ([[1, 2], [3, 4]], "one dimension"),
        ([1, np.nan], "nan"),
        ([1, np.inf], "inf"),
        (np.ma.masked_greater([1, 2, 99], 50), "masked"),
        (np.array([1, 2j]), "not numbers"),
    ],
)
def test_interval_refuses(interval, values, sentence):
    with pytest.raises(CourseError, match=sentence):
        interval(values)


def test_macro_averages_weigh_classes_alike():
    result = classification_metrics(LABELS, THREE)
    assert result["accuracy"] == pytest.approx(0.7)
    assert result["macro_recall"] == pytest.approx((5 / 6 + 1 / 2 + 1 / 2) / 3)
    assert result["macro_precision"] == pytest.approx((5 / 7 + 1 / 2 + 1) / 3)
    assert result["macro_f1"] == pytest.approx((10 / 13 + 1 / 2 + 2 / 3) / 3)
    assert result["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(LABELS, PREDICTED))
    assert result["log_loss"] == pytest.approx(-np.log(0.8) * 0.7 - np.log(0.1) * 0.3)
    assert "roc_auc" not in result
    # The averages that a slip would give.
    assert result["macro_f1"] != pytest.approx(sklearn.metrics.f1_score(LABELS, PREDICTED, average="micro"))
    assert result["macro_f1"] != pytest.approx(sklearn.metrics.f1_score(LABELS, PREDICTED, average="weighted"))


@pytest.mark.parametrize(
    "scores", [SIGMOID, SIGMOID[:, None], np.stack([1 - SIGMOID, SIGMOID], axis=1), SIGMOID.tolist()]
)
def test_every_binary_shape_gives_the_same(scores):
    result = classification_metrics(BINARY, scores)
    assert result["accuracy"] == pytest.approx(5 / 7)
    assert result["sensitivity"] == pytest.approx(2 / 3)
    assert result["specificity"] == pytest.approx(3 / 4)
    assert result["roc_auc"] == pytest.approx(9 / 12)
    assert result["average_precision"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert all(type(value) is float for value in result.values())


def test_sensitivity_and_specificity_are_no_precisions():
    result = classification_metrics(BINARY, SIGMOID, threshold=0.35)  # precisions: 3/4 of class 1, 1 of class 0
    assert (result["sensitivity"], result["specificity"]) == (1, 3 / 4)


def test_one_column_is_never_argmaxed():
    perfect = np.array([[0.1], [0.9], [0.8]])
    assert perfect.argmax(axis=1).tolist() == [0, 0, 0]
    assert classification_metrics([0, 1, 1], perfect)["accuracy"] == 1


def test_class_never_predicted_counts_as_zero_precision_without_warning(recwarn):
    result = classification_metrics([0, 1], [[0.9, 0.1], [0.8, 0.2]])
    assert result["macro_precision"] == pytest.approx(1 / 4)
    assert not recwarn.list


def test_class_that_does_not_occur_is_left_out_of_the_averages():
    assert classification_metrics([0, 1], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])["macro_f1"] == 1


def test_half_precision_softmax_is_accepted(recwarn):
    logits = np.random.default_rng(0).normal(size=(50, 8))
    softmax = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float16)
    assert class_probabilities(softmax).sum(axis=1) == pytest.approx(1, abs=1e-12)
    classification_metrics(logits.argmax(axis=1), softmax)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([0.5, np.nan], "nan in row 1"),
        ([0.5, 1.5], "hold 1.5, outside"),
        ([[-2.0, 3.0]], "apply a sigmoid or softmax"),
        ([[0.5, 0.5], [0.9, 0.9]], "row 1 of the scores sums to 1.8"),
        ([], r"shape \(0,\)"),
        (0.5, r"shape \(\)"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        (["cat", "dog"], "not numbers"),
    ],
)
def test_scores_refused(scores, sentence):
    with pytest.raises(CourseError, match=sentence):
        class_probabilities(scores)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1], "2 labels for 3 rows"),
        ([0, 1, 2], "hold 2; accepted are 0 to 1 for 2 classes"),
        ([0, 1, -1], "hold -1"),
        ([0.0, 1.0, 1.0], "of type float64"),
        (["a", "b", "a"], "accepted are integers"),
        ([[0, 1], [1, 0], [1, 0]], "one-hot"),
        ([[0], [1], [0]], "y\\[:, 0\\]"),
    ],
)
def test_labels_refused(labels, sentence):
    with pytest.raises(CourseError, match=sentence):
        true_labels(labels, rows=3, classes=2)


def test_one_class_alone_is_refused():
    with pytest.raises(CourseError, match="only class 1"):
        classification_metrics([1, 1], [0.3, 0.7])


def test_names():
    assert names_of_classes(None, 2) == ["class 0", "class 1"]
    assert names_of_classes(("a", "b"), 2) == ["a", "b"]
    for wrong in (["a"], ["a", "b", "c"], "ab"):
        with pytest.raises(CourseError, match="accepted are 2 names"):
            names_of_classes(wrong, 2)


def test_the_ends_of_what_is_accepted_are_accepted():
    assert class_probabilities([0, 1]).tolist() == [[1, 0], [0, 1]]
    assert class_probabilities([[0.5, 0.5019], [0.5, 0.4981]]).sum(axis=1) == pytest.approx([1, 1])
    for wrong in ([[0.5, 0.5021]], [[0.5, 0.4979]]):
        with pytest.raises(CourseError, match="row 0 of the scores sums to"):
            class_probabilities(wrong)
    assert true_labels(np.array([0, 7], np.uint8), 2).dtype == np.int64
    assert true_labels([0, 1], 2, classes=2).tolist() == [0, 1]
    with pytest.raises(CourseError, match="hold -1; accepted are integers from 0"):
        true_labels([0, -1], 2)


def test_a_threshold_itself_is_not_above_it_and_is_for_two_classes():
    two = np.array([[0.5, 0.5], [0.4, 0.6], [1, 0], [0, 1]])
    assert predicted_classes(two).tolist() == predicted_classes(two, 0.5).tolist() == [0, 1, 0, 1]
    assert predicted_classes(two, 0.6).tolist() == [0, 0, 0, 1]
    assert predicted_classes(two, 0).tolist() == [1, 1, 0, 1] and predicted_classes(two, 1).tolist() == [0, 0, 0, 0]
    assert predicted_classes(two, 0.5).dtype == np.int64
    for wrong in (-0.01, 1.01, True, "0.5", np.nan):
        with pytest.raises(CourseError, match="accepted is a probability from 0 to 1"):
            predicted_classes(two, wrong)
    with pytest.raises(CourseError, match="3 classes; a threshold goes with two"):
        predicted_classes(np.eye(3), 0.5)
    with pytest.raises(CourseError, match="3 classes; accepted are two"):
        positive_scores([0, 1, 2], np.eye(3))
    labels, positive = positive_scores([0, 1], [[0.7, 0.3], [0.2, 0.8]])
    assert labels.tolist() == [0, 1] and positive.tolist() == [0.3, 0.8]
