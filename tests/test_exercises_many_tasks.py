"""The checks of lesson 11 accept right answers and name each planted fault."""

import numpy as np
import pytest
import tensorflow as tf

from course_utils.exercises import many_tasks as check
from course_utils.exercises.answers import ExerciseError


def adapt_with(order=2, factor=1.0, extra=0, detached=False):
    """Return an `adapt` that has the faults asked for."""

    def adapt(w, x, y, rate, steps):
        if detached:
            w = tf.constant(w.numpy())
        for _ in range(steps + extra):
            with tf.GradientTape() as tape:
                tape.watch(w)
                loss = factor * tf.reduce_mean((x @ w - y) ** 2)
            gradient = tape.gradient(loss, w)
            w = w - rate * (gradient if order == 2 else tf.stop_gradient(gradient))
        return w

    return adapt


def unwatched(w, x, y, rate, steps):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((x @ w - y) ** 2)
    return w - rate * tape.gradient(loss, w)


def test_a_right_adapt_is_accepted(capsys):
    check.check_adapt(adapt_with())
    assert capsys.readouterr().out == "adapt is right.\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (adapt_with(order=1), "first-order MAML"),
        (adapt_with(factor=0.5), "differ from those of gradient descent"),
        (adapt_with(extra=1), "differ from those of gradient descent"),
        (adapt_with(detached=True), "does not depend on w"),
        (lambda w, x, y, rate, steps: adapt_with()(w, x, y, 0.1, 3), "at a rate of 0.02"),
        (unwatched, "needs tape.watch"),
        (lambda *_: None, "NoneType instead of a tensor"),
        (lambda w, *_: w[:, 0], "instead of that of w"),
    ],
)
def test_each_fault_of_adapt_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_adapt(answer)


def test_a_mistake_of_another_kind_is_shown_as_python_tells_it():
    with pytest.raises(TypeError, match="positional argument"):
        check.check_adapt(lambda w, x: w)


def measure_with(unseen=True, apart=True, mean=True):
    """Return a `measure` that has the faults asked for."""

    def measure(vectors, labels, seen, draw):
        classes, hits = np.setdiff1d(labels, seen) if unseen else seen, []
        for _ in range(100):
            five = draw.choice(classes, 5, replace=False)
            rows = np.array([draw.permutation(np.flatnonzero(labels == c))[:10] for c in five])
            centres = vectors[rows[:, :5]].sum(axis=1) / (5 if mean else 1)
            query = vectors[rows[:, 5:] if apart else rows[:, :5]].reshape(25, 1, -1)
            far = ((query - centres) ** 2).sum(axis=-1)
            hits.append(np.mean(far.argmin(axis=1) == np.repeat(np.arange(5), 5)))
        return np.mean(hits)

    return measure


def test_a_right_measure_is_accepted(capsys):
    check.check_measure(measure_with())
    assert capsys.readouterr().out == "measure is mended.\n"


def test_an_accuracy_may_be_a_tensor():
    check.check_measure(lambda *data: tf.constant(measure_with()(*data)))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (measure_with(apart=False), "queries are support images"),
        (measure_with(unseen=False), "draw the five from the others"),
        (measure_with(mean=False), "the mean of its images"),
        (lambda *_: None, "instead of an accuracy"),
        (lambda *_: 3.0, "instead of an accuracy"),
        (lambda *_: -0.1, "instead of an accuracy"),
        (lambda *_: np.array([0.2]), "instead of an accuracy"),
    ],
)
def test_each_fault_of_measure_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_measure(answer)


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.png").touch()
    return tmp_path


def test_own_predictions_are_scored(folder):
    assert check.check_own([0, 0, 0, 1, 1, 0], folder) == pytest.approx(5 / 6)


def test_own_predictions_of_shuffled_files_are_noticed(folder, capsys):
    for number in range(40):
        (folder / ("cat", "dog")[number % 2] / f"more{number}.png").touch()
    labels = np.repeat([0, 1], 23)
    check.check_own(np.where(np.arange(46) % 4 == 0, 1 - labels, labels), folder)  # three of four are right
    assert "no better than guessing" not in capsys.readouterr().out
    check.check_own(np.random.default_rng(0).permutation(labels), folder)
    assert "no better than guessing" in (said := capsys.readouterr().out) and "(shuffle=False)" in said


@pytest.mark.parametrize(
    ("predicted", "sentence"),
    [(None, "still None"), ([0, 1], "the folder has 6 images"), ([0, 0, 0, 1, 1, 2], "outside 0 to 1")],
)
def test_own_predictions_that_cannot_belong_to_the_folder_are_refused(predicted, sentence, folder):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_own(predicted, folder)
