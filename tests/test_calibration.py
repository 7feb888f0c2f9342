import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from course_utils.errors import CourseError
from course_utils.evaluation import (
    calibration_error,
    fit_temperature,
    plot_reliability,
    with_temperature,
)
from course_utils.evaluation.calibration import reliability_table


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
    assert with_temperature(scores, 1) == pytest.approx(scores, abs=1e-6)
    assert np.abs(with_temperature(scores, 3) - 0.5).mean() < np.abs(scores - 0.5).mean()


def test_a_temperature_moves_sure_scores_too():
    low, high, middle = with_temperature([0.0, 1.0, 0.5], 10)
    assert low == pytest.approx(1 - high) and 0.5 < high < 0.9 and middle == 0.5
    assert 0.05 <= fit_temperature([0, 1, 1], [0.0, 1.0, 0.0]) <= 20.01


def test_known_calibration_error():
    labels, scores = [0, 0, 0, 1, 1, 1], [0.2] * 4 + [0.9] * 2
    table = reliability_table(labels, scores, bins=2)
    assert table["observed"].tolist() == [0.25, 1.0]
    assert table["samples"].tolist() == [4, 2]
    assert calibration_error(labels, scores, bins=2) == pytest.approx((4 * 0.05 + 2 * 0.1) / 6)


def test_a_score_of_1_lies_in_the_last_interval():
    assert reliability_table([0, 1], [0.95, 1.0])["samples"].tolist() == [2]


def test_reliability_of_two_models_in_one_plot():
    labels, scores = samples(3.0, n=400)
    ax = plot_reliability(labels, scores, label="timid")
    plot_reliability(labels, with_temperature(scores, 1 / 3), label="mended", ax=ax)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [name.split(" (")[0] for name in names] == ["as predicted", "timid", "mended"]
    assert ax.lines[1].get_color() != ax.lines[2].get_color()
    plt.close("all")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: with_temperature([0.2, 0.4], 0), "temperature is 0"),
        (lambda: with_temperature([0.2, 0.4], np.nan), "temperature is nan"),
        (lambda: with_temperature(np.eye(3), 1), "3 classes"),
        (lambda: fit_temperature([1, 1], [0.2, 0.4]), "only class 1"),
        (lambda: fit_temperature([0, 1], [-2.0, 4.0]), "apply a sigmoid"),
        (lambda: calibration_error([0, 1], [0.2, 0.4], bins=1), "bins is 1"),
        (lambda: calibration_error([0, 1], [0.2, 0.4], bins=2.5), "bins is 2.5"),
    ],
)
def test_bad_input_is_told_in_one_sentence(call, words):
    with pytest.raises(CourseError, match=words):
        call()
