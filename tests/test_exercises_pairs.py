"""Two sets of predictions: what cannot belong to the labels is named, the rest is compared as pairs."""

import numpy as np
import pytest

from course_utils.exercises.answers import ExerciseError
from course_utils.exercises.pairs import paired_gain

TRUE = np.array(["good", "bad"] * 10, dtype=object)
OTHER = np.where(TRUE == "good", "bad", "good")
MOST = np.where(np.arange(20) % 5 == 0, OTHER, TRUE)


def gain(own, rival, true=TRUE):
    return paired_gain({"own": own, "rival": rival}, true, "test sentences")


def test_the_gain_is_that_of_pairs(capsys):
    assert gain(TRUE, MOST) == pytest.approx(0.2)
    assert gain(list(MOST), MOST) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "20 test sentences: own 1.000, rival 0.800, most frequent label 0.500; as pairs +0.200 ± 0.192: a difference."
    )
    assert second.endswith("+0.000 ± 0.000: no clear difference.")


@pytest.mark.parametrize(("own", "doubted"), [(TRUE, True), (MOST, False)])
def test_true_labels_and_a_fit_on_the_test_part_are_doubted(own, doubted, capsys):
    gain(own, MOST)
    doubt = "own is right for 100%: be sure that it holds no true labels, and that its model was not fitted on these"
    assert (doubt in capsys.readouterr().out) == doubted


@pytest.mark.parametrize(
    ("rival", "doubt"),
    [
        (TRUE, "rival is right for 100%"),
        (OTHER, "rival is no better than the most frequent label"),
        (MOST, ""),
        (np.full(20, "good"), "rival is no better than the most frequent label"),
    ],
)
def test_a_rival_that_is_no_rival_is_doubted(rival, doubt, capsys):
    gain(MOST, rival)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(doubt) and len(lines) == 1 + bool(doubt)


def test_class_numbers_are_labels_too():
    numbers = (TRUE == "good").astype(int)
    assert gain(numbers, 1 - numbers, numbers) == 1


@pytest.mark.parametrize(
    ("own", "rival", "sentence"),
    [
        (None, MOST, "own is None: give a predicted label for each of 20 test sentences"),
        (MOST, None, "rival is None"),
        (MOST[:-1], MOST, r"own has the shape \(19,\); there are 20 test sentences, so \(20,\) is due"),
        (MOST, MOST.reshape(2, 10), r"rival has the shape \(2, 10\)"),
        ([1, 0] * 10, MOST, "own holds .'0'., which is no label; the labels are bad, good"),
        (np.full(20, "good"), MOST, "always saying the most frequent label gives 0.50"),
        (OTHER, MOST, "are the predictions in the order of the test sentences"),
    ],
)
def test_predictions_that_cannot_be_right_are_named(own, rival, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        gain(own, rival)
