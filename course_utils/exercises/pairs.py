"""Two sets of predictions for the same test items, counted and compared as pairs."""

import numpy as np
from numpy.typing import ArrayLike

from course_utils.evaluation.metrics import mean_and_interval
from course_utils.exercises.answers import require

TOO_GOOD = 0.99  # real tasks of the course end below


def paired_gain(predicted: dict[str, ArrayLike], true: ArrayLike, items: str) -> float:
    """Print and return how much more accurate the first of two sets of predictions is, with its 95% interval.

    Parameters
    ----------
    predicted : dict of str to array of shape (n,)
        The reader's predictions and those of a rival, by the names of their variables.
    true : array of shape (n,)
        Labels, numbers or text.
    items : str
        What was predicted, such as "test images".

    Raises
    ------
    ExerciseError
        When predictions cannot belong to these labels, or the reader's are no better than the most frequent label.
    """
    true = np.asarray(true).astype(str)
    labels, counts = np.unique(true, return_counts=True)
    right = {name: _right(name, values, true, labels, items) for name, values in predicted.items()}
    (own, own_right), (rival, rival_right) = right.items()
    usual = counts.max() / len(true)
    require(
        own_right.mean() > usual,
        f"{own} has an accuracy of {own_right.mean():.2f}; always saying the most frequent label gives {usual:.2f}: "
        f"are the predictions in the order of the {items}?",
    )
    gain, width = mean_and_interval(own_right.astype(float) - rival_right)
    for name, hits in right.items():
        if hits.mean() >= TOO_GOOD:
            print(f"{name} is right for {hits.mean():.0%}: be sure that it holds no true labels, and that its model "
                  f"was not fitted on these {items}.")  # fmt: skip
    if rival_right.mean() <= usual:
        print(f"{rival} is no better than the most frequent label: is it in the order of the {items}?")
    print(
        f"{len(true)} {items}: {own} {own_right.mean():.3f}, {rival} {rival_right.mean():.3f}, most frequent label "
        f"{usual:.3f}; as pairs {gain:+.3f} ± {width:.3f}: {'a' if abs(gain) > width else 'no clear'} difference."
    )
    return gain


def _right(name: str, predicted: ArrayLike, true: np.ndarray, labels: np.ndarray, items: str) -> np.ndarray:
    """Return which predictions are right, after the checks of their shape and values."""
    require(predicted is not None, f"{name} is None: give a predicted label for each of {len(true)} {items}.")
    predicted = np.asarray(predicted)
    require(
        predicted.shape == true.shape,
        f"{name} has the shape {predicted.shape}; there are {len(true)} {items}, so {true.shape} is due.",
    )
    unknown = sorted({str(value) for value in predicted} - set(labels))
    require(not unknown, f"{name} holds {unknown[:1]}, which is no label; the labels are {', '.join(labels)}.")
    return predicted.astype(str) == true
