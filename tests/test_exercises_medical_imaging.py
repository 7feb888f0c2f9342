"""The checks of lesson 07 accept right answers and name each planted fault."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve

from course_utils.data import phantom
from course_utils.data.dataset import DataSplit, Samples
from course_utils.exercises import medical_imaging as check
from course_utils.exercises.answers import ExerciseError


def at_specificity_with(
    part="validation",
    asked="specificity",
    pick=-1,
    reported="test",
    order=1,
    fixed=None,
    drop=False,
    call=np.greater_equal,
):
    """Return an `at_specificity` that has the faults asked for."""

    def at_specificity(y_val, p_val, y_test, p_test, specificity):
        chosen_on = (y_val, p_val) if part == "validation" else (y_test, p_test)
        false_alarms, found, cuts = roc_curve(*chosen_on, drop_intermediate=drop)
        fits = 1 - false_alarms >= specificity if asked == "specificity" else found >= specificity
        threshold = fixed or cuts[np.flatnonzero(fits)[pick if asked == "specificity" else 0]]
        labels, scores = (y_test, p_test) if reported == "test" else (y_val, p_val)
        called = call(scores, threshold)
        rates = [recall_score(labels, called, pos_label=label) for label in (1, 0)]
        return threshold, *rates[::order]

    return at_specificity


def test_a_right_at_specificity_is_accepted(capsys):
    check.check_at_specificity(at_specificity_with())
    assert capsys.readouterr().out == "at_specificity is right.\n"


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
        ({"drop": True}, "only with drop_intermediate=False"),
        ({"call": np.greater}, "a score at the threshold is called ill"),
        ({"fixed": 0.2}, "less than 0.9"),
    ],
)
def test_each_fault_of_at_specificity_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_at_specificity(at_specificity_with(**faults))


def test_a_stub_of_at_specificity_is_named():
    with pytest.raises(ExerciseError, match="instead of threshold"):
        check.check_at_specificity(lambda *_: None)


def report_with(part="validation", share="sensitivity", auc="scores", drawn="patients", each=None, ends=(2.5, 97.5)):
    """Return a `report` that has the faults asked for."""

    def report(y_val, p_val, y_test, p_test, patients):
        false_alarms, found, cuts = roc_curve(*((y_val, p_val) if part == "validation" else (y_test, p_test)))
        threshold = cuts[np.argmax(found - false_alarms)]
        called = (p_test >= threshold).astype(int)
        shown = p_test if auc == "scores" else called
        random, aucs = np.random.default_rng(0), []
        groups = np.arange(len(y_test)) if drawn == "images" else patients
        names = np.unique(groups)
        images_of = [np.flatnonzero(groups == name) for name in names]
        for _ in range(250):
            names_drawn = random.integers(0, len(names), len(names))
            names_drawn = np.unique(names_drawn) if drawn == "once" else names_drawn
            rows = np.concatenate([images_of[k][:each] for k in names_drawn])
            aucs.append(roc_auc_score(y_test[rows], shown[rows]))
        measure = recall_score if share == "sensitivity" else precision_score
        return {
            "threshold": threshold, "sensitivity": measure(y_test, called), "AUC": roc_auc_score(y_test, shown),
            "interval": np.percentile(aucs, ends),
        }  # fmt: skip

    return report


def test_a_right_report_is_accepted(capsys):
    check.check_report(report_with())
    assert capsys.readouterr().out == "report is mended.\n"


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"part": "test"}, "on validation, and the best one"),
        ({"share": "precision"}, "what is the share of"),
        ({"auc": "decisions"}, "scikit-learn gives"),
        ({"drawn": "images"}, "several images"),
        ({"drawn": "once"}, "does a patient who is drawn twice count twice"),
        ({"each": 1}, "each time with all images"),
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


def test_a_report_may_tell_more():
    check.check_report(lambda *data: report_with()(*data) | {"specificity": 0.5})


LABELS = np.arange(60) % 3 // 2
PART = Samples(np.zeros((60, 28, 28, 1), np.uint8), LABELS)
DATA = DataSplit(PART, PART, PART, phantom.CLASS_NAMES, phantom.CARD)
SCORES = np.where(LABELS == 1, 0.7, 0.2) + 0.001 * np.arange(60)
HIGHEST = np.sort(SCORES[LABELS == 1])[1]  # 19 of the 20 ill reach it


def own(validation=SCORES, test=SCORES):
    return {"validation": validation, "test": test}


@pytest.mark.parametrize("threshold", [HIGHEST, HIGHEST - 1e-4])
def test_scores_of_another_place_are_told_with_intervals(threshold, capsys):
    assert check.check_own_place(own(), threshold, DATA) == 1
    assert "sensitivity 0.95 (0.76 to 0.99, n = 20); specificity 1.00 (0.91 to 1.00, n = 40)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "threshold", "sentence"),
    [
        (None, HIGHEST, "one is None"),
        (SCORES, HIGHEST, "must be a dictionary"),
        ({"test": SCORES}, HIGHEST, "must be a dictionary"),
        (own(test=SCORES[:5]), HIGHEST, "of test has the shape"),
        (own(validation=10 * SCORES), HIGHEST, "of validation goes from 2 .* are these logits"),
        (own(test=1 - SCORES), HIGHEST, "no better than chance"),
        (own(), 1.5, "between 0 and 1"),
        (own(), 0.5, "my_threshold is 0.500; the highest one with a sensitivity of 0.95 on validation is 0.705"),
        (own(), HIGHEST + 0.002, "the highest one with a sensitivity"),
        (own(test=SCORES + 0.1), HIGHEST + 0.1, "yours fits the test set"),
    ],
)
def test_scores_that_cannot_be_right_are_named(scores, threshold, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_own_place(scores, threshold, DATA)
