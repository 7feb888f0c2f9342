import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from course_utils.errors import CourseError
from course_utils.evaluation import calibration_error, fit_temperature, with_temperature


def samples(temperature, n=20_000, seed=0):
    """Draw labels from true probabilities, and return them with probabilities of another temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0.5, 2, n)
    return (random.random(n) < expit(logits)).astype(int), expit(logits / temperature)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_found_again(temperature):
    labels, scores = samples(temperature)
    found = fit_temperature(labels, scores)
    # Dividing logits by 3 makes them too timid: the remedy is to divide by 1/3.
    assert found == pytest.approx(1 / temperature, rel=0.05)
    mended = with_temperature(scores, found)
    assert log_loss(labels, mended) <= log_loss(labels, scores) + 1e-9
    assert calibration_error(labels, mended) < 0.01


def test_temperature_keeps_the_order():
    labels, scores = samples(1.0, n=500)
    assert roc_auc_score(labels, with_temperature(scores, 3)) == pytest.approx(roc_auc_score(labels, scores))
    assert with_temperature(scores, 1) == pytest.approx(scores, abs=1e-12)
    assert np.abs(with_temperature(scores, 3) - 0.5).mean() < np.abs(scores - 0.5).mean()


def test_temperature_keeps_the_order_of_scores_near_0_and_1():
    scores = np.array([0, 1e-300, 1e-9, 1e-8, 0.5, 1 - 1e-8, 1 - 2.0**-53, 1])
    for temperature in (1, 3, 20):
        assert (np.diff(with_temperature(scores, temperature)) > 0).all()
    assert with_temperature(scores, 1) == pytest.approx(scores, rel=1e-9, abs=0)


def test_a_temperature_moves_sure_scores_too():
    low, high, middle = with_temperature([0.0, 1.0, 0.5], 10)
    assert 0 < low < 1e-30 and 0.9 < high < 0.99 and middle == 0.5
    assert (low, high) == pytest.approx(expit([-74.6, 3.75]), abs=0)
    assert 0.05 <= fit_temperature([0, 1, 1], [0.0, 1.0, 0.0]) <= 20.01


def test_the_temperature_ends_at_its_bounds():
    assert fit_temperature([0, 1], [0.4, 0.6]) == pytest.approx(0.05, rel=1e-2)  # all right: the surer, the better
    assert fit_temperature([0, 1], [0.6, 0.4]) == pytest.approx(20, rel=1e-2)  # all wrong


def test_known_calibration_error():
    labels, scores = [0, 0, 0, 1, 1, 1, 0], [0.25] * 4 + [0.95] * 2 + [1.0]  # 1 lies in the last interval
    assert calibration_error(labels, scores) == pytest.approx((0 + 3 * abs(2 / 3 - 2.9 / 3)) / 7)


@pytest.mark.parametrize(("scores", "error"), [([0.41, 0.49], 0.05), ([0.39, 0.41], 0.51), ([0.49, 0.51], 0.51)])
def test_errors_of_one_tenth_cancel_out_and_those_of_two_add_up(scores, error):
    assert calibration_error([1, 0], scores) == pytest.approx(error)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: with_temperature([0.2, 0.4], 0), "temperature is 0"),
        (lambda: with_temperature([0.2, 0.4], np.nan), "temperature is nan"),
        (lambda: with_temperature([0.2, 0.4], np.inf), "temperature is inf"),
        (lambda: with_temperature([0.2, 0.4], -1), "temperature is -1"),
        (lambda: with_temperature(np.eye(3), 1), "3 classes"),
        (lambda: fit_temperature([1, 1], [0.2, 0.4]), "only class 1"),
        (lambda: fit_temperature([0, 1], [-2.0, 4.0]), "apply a sigmoid"),
    ],
)
def test_bad_input_is_told_in_one_sentence(call, words):
    with pytest.raises(CourseError, match=words):
        call()
