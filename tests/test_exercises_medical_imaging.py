"""The checks of lesson 07 accept right answers and name each planted fault."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve

from course_utils.data.dataset import Samples
from course_utils.exercises import medical_imaging as check
from course_utils.exercises.answers import ExerciseError


def at_specificity_with(part="validation", asked="specificity", pick=-1, reported="test", order=1, fixed=None):
    """Return an `at_specificity` that has the faults asked for."""

    def at_specificity(y_val, p_val, y_test, p_test, specificity):
        chosen_on = (y_val, p_val) if part == "validation" else (y_test, p_test)
        false_alarms, found, cuts = roc_curve(*chosen_on, drop_intermediate=False)
        fits = 1 - false_alarms >= specificity if asked == "specificity" else found >= specificity
        threshold = fixed or cuts[np.flatnonzero(fits)[pick if asked == "specificity" else 0]]
        labels, called = (y_test, p_test >= threshold) if reported == "test" else (y_val, p_val >= threshold)
        rates = [recall_score(labels, called, pos_label=label) for label in (1, 0)]
        return threshold, *rates[::order]

    return at_specificity


def test_a_right_at_specificity_is_accepted(capsys):
    check.check_at_specificity(at_specificity_with())
    assert "at_specificity is right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"part": "test"}, "not the lowest one with a specificity of 0.9 on validation: it fits the test set"),
        ({"asked": "sensitivity"}, "was the sensitivity asked for"),
        ({"pick": 0}, "not the lowest one"),
        ({"pick": -5}, "not the lowest one"),
        ({"reported": "validation"}, "on test at your threshold is"),
        ({"order": -1}, "on test at your threshold is"),
        ({"fixed": 0.5}, "not the lowest one"),
        ({"fixed": 0.2}, "less than 0.9"),
    ],
)
def test_each_fault_of_at_specificity_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_at_specificity(at_specificity_with(**faults))


def test_a_stub_of_at_specificity_is_named():
    with pytest.raises(ExerciseError, match="instead of threshold"):
        check.check_at_specificity(lambda *_: None)


def report_with(part="validation", share="sensitivity", auc="scores", drawn="patients", ends=(2.5, 97.5)):
    """Return a `report` that has the faults asked for."""

    def report(y_val, p_val, y_test, p_test, patients):
        false_alarms, found, cuts = roc_curve(*((y_val, p_val) if part == "validation" else (y_test, p_test)))
        threshold = cuts[np.argmax(found - false_alarms)]
        called = (p_test >= threshold).astype(int)
        shown = p_test if auc == "scores" else called
        random, aucs = np.random.default_rng(0), []
        names = np.unique(patients) if drawn == "patients" else np.arange(len(y_test))
        groups = patients if drawn == "patients" else names
        images_of = [np.flatnonzero(groups == name) for name in names]
        for _ in range(250):
            rows = np.concatenate([images_of[k] for k in random.integers(0, len(names), len(names))])
            aucs.append(roc_auc_score(y_test[rows], shown[rows]))
        measure = recall_score if share == "sensitivity" else precision_score
        return {
            "threshold": threshold, "sensitivity": measure(y_test, called), "AUC": roc_auc_score(y_test, shown),
            "interval": np.percentile(aucs, ends),
        }  # fmt: skip

    return report


def test_a_right_report_is_accepted(capsys):
    check.check_report(report_with())
    assert "report is mended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"part": "test"}, "on validation, and the best one"),
        ({"share": "precision"}, "what is the share of"),
        ({"auc": "decisions"}, "scikit-learn gives"),
        ({"drawn": "images"}, "several images"),
        ({"ends": (10, 90)}, "drawing patients gives"),
        ({"ends": (0, 100)}, "drawing patients gives"),
        ({"ends": (97.5, 2.5)}, "misses the AUC"),
    ],
)
def test_each_fault_of_report_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_report(report_with(**faults))


def test_a_report_without_its_figures_is_named():
    with pytest.raises(ExerciseError, match="must return threshold"):
        check.check_report(lambda *_: {"AUC": 1.0})


LABELS = np.arange(60) % 3 // 2
TEST = Samples(np.zeros((60, 28, 28, 1), np.uint8), LABELS)
SCORES = np.where(LABELS == 1, 0.7, 0.2) + 0.001 * np.arange(60)


def test_scores_of_another_place_are_told_with_intervals(capsys):
    assert check.check_own_place(SCORES, 0.5, TEST) == 1
    assert "sensitivity 1.00 (0.84 to 1.00, n = 20); specificity 1.00 (0.91 to 1.00, n = 40)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "threshold", "sentence"),
    [
        (None, 0.5, "one is None"),
        (SCORES[:5], 0.5, "has the shape"),
        (10 * SCORES, 0.5, "are these logits"),
        (1 - SCORES, 0.5, "no better than chance"),
        (SCORES, 1.5, "between 0 and 1"),
    ],
)
def test_scores_that_cannot_be_right_are_named(scores, threshold, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_own_place(scores, threshold, TEST)
