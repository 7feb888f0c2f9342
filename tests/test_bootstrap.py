import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from course_utils.errors import CourseError
from course_utils.evaluation import bootstrap_interval


def accuracy(y, p):
    return np.mean((p > 0.5) == y)


def draw(seed, n=200, right=0.8):
    """Return labels and scores of a classifier that is right with a known probability."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return labels, np.where(random.random(n) < right, labels, 1 - labels) * 0.8 + 0.1


def test_width_is_that_of_the_normal_approximation():
    low, high = bootstrap_interval(accuracy, *draw(0, n=1000))
    expected = 2 * norm.ppf(0.975) * np.sqrt(0.8 * 0.2 / 1000)
    assert high - low == pytest.approx(expected, rel=0.15)


def test_interval_covers_as_often_as_it_says():
    intervals = [bootstrap_interval(accuracy, *draw(seed), repeats=200, seed=seed) for seed in range(150)]
    assert np.mean([low <= 0.8 <= high for low, high in intervals]) > 0.88


def test_equal_with_the_same_seed():
    labels, scores = draw(1)
    first = bootstrap_interval(roc_auc_score, labels, scores)
    assert bootstrap_interval(roc_auc_score, labels, scores) == first
    assert bootstrap_interval(roc_auc_score, labels, scores, seed=1) != first


def test_each_argument_counts_and_the_order_of_samples_does_not():
    labels, scores = draw(1)
    usual = bootstrap_interval(accuracy, labels, scores)
    assert usual == bootstrap_interval(accuracy, labels, scores, repeats=1000, seed=0)
    assert usual != bootstrap_interval(accuracy, labels, scores, repeats=100)
    assert usual != bootstrap_interval(lambda y, p: p.mean(), labels, scores)
    assert usual == bootstrap_interval(accuracy, np.sort(labels), scores[np.argsort(labels, kind="stable")])
    low, high = bootstrap_interval(accuracy, [0, 0, 1, 1], [0.1, 0.9, 0.1, 0.9], repeats=20)  # the fewest of all
    assert 0 <= low < high <= 1


def test_each_drawn_set_holds_both_classes():
    labels, scores = np.array([0] * 50 + [1, 1]), np.linspace(0, 1, 52)
    assert bootstrap_interval(roc_auc_score, labels, scores, repeats=50) == pytest.approx((1, 1))


def test_too_few_are_told():
    with pytest.raises(CourseError, match="repeats=19 is impossible: give a whole number, at least 20"):
        bootstrap_interval(accuracy, *draw(0), repeats=19)
    with pytest.raises(CourseError, match="seed=-1 is impossible"):
        bootstrap_interval(accuracy, *draw(0), seed=-1)
    with pytest.raises(CourseError, match="one sample of a class"):
        bootstrap_interval(accuracy, [0, 0, 1], [0.1, 0.2, 0.9])


def test_bad_scores_are_told():
    with pytest.raises(CourseError, match="only class 0"):
        bootstrap_interval(accuracy, np.zeros(9, int), np.full(9, 0.5))
    with pytest.raises(CourseError, match="hold nan in row 1"):
        bootstrap_interval(accuracy, [0, 1], [0.5, np.nan])
