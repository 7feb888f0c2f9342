import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_curve

from course_utils.errors import CourseError
from course_utils.evaluation import (
    choose_threshold,
    classification_metrics,
    evaluate,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from course_utils.evaluation.thresholds import operating_points

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.3, 0.8, 0.4, 0.5, 0.6, 0.7, 0.9, 0.95])


def random_scores(seed=0, n=300):
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.7).astype(int)
    return labels, np.clip(random.normal(0.4 + 0.2 * labels, 0.15), 0, 1)


def test_known_thresholds():
    assert choose_threshold(LABELS, SCORES) == pytest.approx(0.35)
    assert choose_threshold(LABELS, SCORES, "accuracy") == pytest.approx(0.35)
    assert threshold_at_specificity(LABELS, SCORES, 0.75) == pytest.approx(0.35)
    assert threshold_at_specificity(LABELS, SCORES, 1.0) == pytest.approx(0.85)
    assert threshold_at_sensitivity(LABELS, SCORES, 5 / 6) == pytest.approx(0.45)
    assert threshold_at_sensitivity(LABELS, SCORES, 1.0) == pytest.approx(0.35)
    assert sensitivity_at_specificity(LABELS, SCORES, 0.75) == 1
    assert sensitivity_at_specificity(LABELS, SCORES, 0.95) == pytest.approx(2 / 6)


def test_what_is_demanded_when_nothing_is_said():
    labels, scores = np.repeat([0, 1], 200), np.concatenate([np.arange(200) + 100, np.arange(200) + 201]) / 500
    for function in (threshold_at_specificity, threshold_at_sensitivity, sensitivity_at_specificity):
        found = [function(labels, scores, share) for share in (0.945, 0.95, 0.955)]
        assert function(labels, scores) == found[1] and len(set(found)) == 3


@pytest.mark.parametrize("criterion", ["accuracy", "balanced accuracy"])
def test_no_threshold_is_better(criterion):
    labels, scores = random_scores()
    name = criterion.replace(" ", "_")
    chosen = classification_metrics(labels, scores, choose_threshold(labels, scores, criterion))[name]
    others = [classification_metrics(labels, scores, threshold)[name] for threshold in np.linspace(0, 1, 201)]
    assert chosen >= max(others) - 1e-12


def test_the_two_criteria_differ_where_classes_are_unequal():
    labels, scores = random_scores()
    assert choose_threshold(labels, scores, "accuracy") < choose_threshold(labels, scores)


def test_sensitivity_is_read_off_the_roc_curve():
    labels, scores = random_scores(1)
    false_positive, true_positive, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert sensitivity_at_specificity(labels, scores, 0.9) == pytest.approx(true_positive[false_positive <= 0.1].max())


@pytest.mark.parametrize("demand", [0.5, 0.9, 0.95, 1.0])
def test_threshold_at_sensitivity_is_that_at_specificity_with_the_classes_exchanged(demand):
    labels, scores = random_scores(2)
    exchanged = 1 - threshold_at_specificity(1 - labels, 1 - scores, demand)
    assert threshold_at_sensitivity(labels, scores, demand) == pytest.approx(exchanged)
    assert (scores[labels == 1] > threshold_at_sensitivity(labels, scores, demand)).mean() >= demand


def test_scores_of_exactly_0_and_1_lie_at_the_outer_thresholds_not_above():
    thresholds, sensitivity, specificity = operating_points(np.array([0, 1, 1]), np.array([0.0, 0.0, 1.0]))
    assert thresholds.tolist() == [0, 0.5, 1]
    assert sensitivity.tolist() == [0.5, 0.5, 0]
    assert specificity.tolist() == [1, 1, 1]


def test_of_equally_good_thresholds_the_lowest_is_taken():
    labels = [1, 1, 0, 1, 1, 0, 1, 1, 0]
    scores = [0.76, 0.51, 0.93, 0.07, 0.84, 0.07, 0.34, 0.43, 0.97]  # 6 of 9 are right at 0 and at 0.205
    assert choose_threshold(labels, scores, "accuracy") == 0


@pytest.mark.parametrize("steps", [0, 1])
def test_scores_beside_each_other_among_the_floats_are_told_apart(steps):
    """Their middle is rounded to the lower or to the upper one, by turns."""
    lower = 0.3 + steps * np.spacing(0.3)
    upper = lower + np.spacing(0.3)
    assert lower <= choose_threshold([0, 0, 1], [0.1, lower, upper]) < upper


def test_scores_that_tell_nothing():
    same = np.full(10, 0.3)
    assert threshold_at_specificity(LABELS, same) == 1
    assert threshold_at_sensitivity(LABELS, same) == 0
    assert threshold_at_sensitivity(LABELS, 0 * same) == 0
    assert sensitivity_at_specificity(LABELS, same) == 0
    labels = np.array([0, 1, 1])
    chosen = choose_threshold(labels, [0.9, 0.9, 0.9], "accuracy")
    assert classification_metrics(labels, [0.9] * 3, chosen)["accuracy"] == pytest.approx(2 / 3)


def test_threshold_reaches_every_part_of_the_report():
    labels, scores = random_scores()
    threshold = 0.62
    report = evaluate(labels, scores, threshold=threshold)
    by_hand = balanced_accuracy_score(labels, scores > threshold)
    assert report.metrics["balanced_accuracy"] == pytest.approx(by_hand)
    assert report.table["recall"].mean() == pytest.approx(by_hand)
    shown = [int(text.get_text()) for text in report.figures["confusion_matrix"].axes[0].texts]
    assert shown[1] == np.sum((scores > threshold) & (labels == 0))


def test_without_a_threshold_nothing_changes():
    labels, scores = random_scores()
    assert classification_metrics(labels, scores) == classification_metrics(labels, scores, 0.5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: choose_threshold(LABELS, SCORES, "f1"), "accepted are 'accuracy' and 'balanced accuracy'"),
        (lambda: choose_threshold(np.ones(10, int), SCORES), "only class 1"),
        (lambda: choose_threshold(LABELS[:5], SCORES), "5 labels for 10 rows"),
        (lambda: choose_threshold(LABELS, 3 * SCORES), "apply a sigmoid"),
        (lambda: threshold_at_specificity(LABELS, SCORES, 95), "specificity is 95"),
        (lambda: threshold_at_specificity(LABELS, SCORES, 0), "specificity is 0"),
        (lambda: threshold_at_specificity(LABELS, SCORES, 1.01), "specificity is 1.01"),
        (lambda: threshold_at_sensitivity(LABELS, SCORES, 95), "sensitivity is 95"),
        (lambda: threshold_at_sensitivity(LABELS, SCORES, 0), "sensitivity is 0"),
        (lambda: classification_metrics(LABELS, SCORES, 2), "threshold is 2"),
        (lambda: classification_metrics([0, 1, 2], np.eye(3), 0.5), "3 classes"),
    ],
)
def test_bad_input_is_told_in_one_sentence(call, words):
    with pytest.raises(CourseError, match=words):
        call()
