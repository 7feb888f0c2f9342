"""Checks of the exercises of lesson 11: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable
from numbers import Real
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score

from course_utils.data.image_folders import class_folders, visible_files
from course_utils.exercises.answers import require
from course_utils.exercises.guessing import limit_of_guessing

RATES_AND_STEPS = (0.1, 3), (0.02, 5)


def check_adapt(adapt: Callable) -> None:
    """Check ``adapt(w, x, y, rate, steps)``, the inner loop of MAML for a linear model.

    Parameters
    ----------
    adapt : callable
        Takes weights (d, 1), inputs (n, d), targets (n, 1), a learning rate and a number of steps; returns the
        weights after gradient descent on the mean squared error, differentiable with respect to the first ones.

    Raises
    ------
    ExerciseError
        With what is wrong.

    References
    ----------
    Finn, Abbeel & Levine (2017), https://arxiv.org/abs/1703.03400
    """
    for rate, steps in RATES_AND_STEPS:
        _check_adapt(adapt, rate, steps)
    print("adapt is right.")


def _check_adapt(adapt: Callable, rate: float, steps: int) -> None:
    random = np.random.default_rng(0)
    x, y, start = (random.normal(size=shape) for shape in ((20, 3), (20, 1), (3, 1)))
    w = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(w)
        try:
            answer = adapt(w, tf.constant(x), tf.constant(y), rate, steps)
        except TypeError as error:
            unwatched = "NoneType" in str(error)
            require(not unwatched, "tape.gradient gave None: w is a tensor, so the inner tape needs tape.watch(w).")
            raise
        require(isinstance(answer, tf.Tensor), f"adapt returned {type(answer).__name__} instead of a tensor.")
        require(answer.shape == (3, 1), f"adapt returned the shape {tuple(answer.shape)} instead of that of w, (3, 1).")
        total = tf.reduce_sum(answer)
    expected = start
    for _ in range(steps):
        expected = expected - rate * 2 * x.T @ (x @ expected - y) / len(x)
    require(
        np.allclose(answer, expected),
        f"After {steps} steps at a rate of {rate} the weights differ from those of gradient descent on the mean "
        "squared error.",
    )
    gradient = tape.gradient(total, w)
    require(gradient is not None, "The answer does not depend on w for TensorFlow: compute the steps with tensors.")
    through = np.linalg.matrix_power(np.eye(3) - rate * 2 * x.T @ x / len(x), steps) @ np.ones((3, 1))
    require(
        np.allclose(gradient, through),
        "The gradient stops at the inner steps, which is first-order MAML: let the outer tape see tape.gradient.",
    )


def check_measure(measure: Callable) -> None:
    """Check ``measure(vectors, labels, seen, draw)``, the accuracy of episodes without the three planted faults.

    Parameters
    ----------
    measure : callable
        Takes vectors (n, d), labels (n,), the classes of the training and a NumPy generator; returns the accuracy of
        the nearest class mean in five-way episodes of the other classes.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    labels, seen = np.repeat(np.arange(20), 20), np.arange(10)

    def measured(vectors: np.ndarray) -> float:
        answer = measure(vectors, labels, seen, np.random.default_rng(0))
        number = isinstance(answer, Real) or (hasattr(answer, "dtype") and np.ndim(answer) == 0)
        ok = bool(number and 0 <= answer <= 1)
        require(ok, f"measure returned {answer!r} instead of an accuracy from 0 to 1.")
        return float(answer)

    noise = np.random.default_rng(1).normal(size=(len(labels), 30))
    signal = 8 * np.eye(30)[labels]
    said = measured(noise)
    require(said < 0.3, f"Pure noise has an accuracy of {said:.2f}, chance is 0.2: the queries are support images.")
    said = measured(noise + signal * (labels < 10)[:, None])
    require(
        said < 0.3, f"Vectors that tell only the seen classes apart have {said:.2f}: draw the five from the others."
    )
    line = labels[:, None] * (np.arange(30) == 0)  # where a sum in place of the mean lies far outside
    said = measured(0.05 * noise + line)
    require(
        said > 0.9, f"Classes that lie apart on a line have {said:.2f} only: is each centre the mean of its images?"
    )
    print("measure is mended.")


def check_own(predicted: np.ndarray, folder: str | Path) -> float:
    """Compare class numbers, predicted from the names of the classes alone, with the folders of the images.

    Predictions that are no better than the same ones in random order are told: the order may be lost, or the words say
    nothing of these images.

    Parameters
    ----------
    predicted : array of int, shape (n,)
        Class numbers of all images, class after class in alphabetical order.
    folder : str or pathlib.Path
        Images, one subfolder for each class; n in all.

    Returns
    -------
    float
        Balanced accuracy.

    Raises
    ------
    ExerciseError
        When the predictions cannot belong to the folder.
    """
    counts = [len(visible_files(path)) for path in class_folders(folder).values()]
    labels = np.repeat(np.arange(len(counts)), counts)
    require(predicted is not None, "predicted is still None.")
    predicted = np.asarray(predicted)
    require(
        predicted.shape == labels.shape,
        f"predicted has the shape {predicted.shape}; the folder has {len(labels)} images.",
    )
    require(
        bool(np.isin(predicted, np.arange(len(counts))).all()),
        f"predicted has class numbers outside 0 to {len(counts) - 1}.",
    )
    accuracy, limit = balanced_accuracy_score(labels, predicted), limit_of_guessing(labels, predicted)
    print(f"Balanced accuracy {accuracy:.2f} without a label; chance is {1 / len(counts):.2f}.")
    if accuracy <= limit + 1e-9:
        print(
            f"That is no better than guessing: the same predictions in random order reach up to {limit:.2f}. Are they "
            "in the order of the files (shuffle=False)? If so, these words do not tell the images apart."
        )
    return float(accuracy)
