"""What lesson 08 says of a difference is what its interval says, corrected for splits that share sentences."""

import math

import pytest

from course_utils.evaluation.expectations import read_bands

LESSON, EXPERIMENT = "08_text_classification", "experiments/08_text_classification"
THIRD, BERT = 1 / 3, 586 / 800  # test sentences for each training sentence


def corrected(band, ratio, draws):
    """Half the width of the 95% interval of Nadeau & Bengio (2003), when a run is the mean over some draws."""
    return band.half_width * math.sqrt(1 + len(band.seeds) * draws * ratio)


@pytest.mark.parametrize(
    ("key", "name", "ratio", "draws", "shown"),
    [
        (LESSON, "frozen_minus_counts", THIRD, 1, True),
        (LESSON, "tuned_minus_frozen", BERT, 1, False),
        (LESSON, "test_tuned_minus_frozen", BERT, 1, True),
        (LESSON, "counts_doubling", THIRD, 1, True),
        (LESSON, "frozen_doubling", THIRD, 1, False),
        (LESSON, "neutral_gain", THIRD, 1, True),
        (LESSON, "weights_accuracy", THIRD, 1, False),
        (LESSON, "weights_f1", THIRD, 1, False),
        (EXPERIMENT, "leak", THIRD, 5, False),
        (EXPERIMENT, "words_lost", 200 / 400, 5, True),
        (EXPERIMENT, "fine_tuning_inside", 200 / 400, 1, True),
        (EXPERIMENT, "fine_tuning_across", 200 / 400, 1, True),
    ],
)
def test_a_difference_is_called_shown_when_its_corrected_interval_excludes_zero(key, name, ratio, draws, shown):
    band = read_bands()[key]["default"]["bands"][name]
    assert (abs(band.mean) > corrected(band, ratio, draws)) == shown
