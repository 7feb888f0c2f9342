"""Batches of two domains, of which only the source has labels."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from course_utils.data import Samples
from course_utils.errors import CourseError, whole_number


def unlabelled_target(
    source: Samples,
    target: np.ndarray,
    batch_size: int = 64,
    seed: int = 0,
    augment: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.data.Dataset:
    """Return endless batches ({"source": x, "target": x, "augmented": x}, labels of the source).

    Parameters
    ----------
    source : Samples
        Labelled inputs.
    target : ndarray
        Inputs only: there is no way for a label of the target to come in.
    batch_size : int
        Samples of each domain in a batch.
    seed : int
        Of the orders, which differ from epoch to epoch.
    augment : callable
        Changes a batch of inputs: those of the source, and the copy of the target's that is called ``"augmented"``.

    Raises
    ------
    CourseError
        If the domains have inputs of different shapes, or labels are given for the target.
    """
    batch_size, seed = whole_number("batch_size", batch_size, 2), whole_number("seed", seed, 0)
    if isinstance(target, tuple):
        raise CourseError("The target is a pair: give its inputs alone, adaptation must not see its labels.")
    if source.x.shape[1:] != target.shape[1:]:
        raise CourseError(
            f"Source inputs have shape {source.x.shape[1:]}, target inputs {target.shape[1:]}; "
            "accepted are equal shapes."
        )
    if min(len(source.x), len(target)) < batch_size:
        raise CourseError(f"A domain has fewer than batch_size={batch_size} inputs; take smaller batches.")
    x, y, x_target = (tf.constant(array) for array in (source.x, source.y, target))
    rows = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed).repeat()
    target_rows = tf.data.Dataset.range(len(target)).shuffle(len(target), seed=seed + 1).repeat()

    def batch(i, j):
        clean = tf.gather(x_target, j)
        inputs = {"source": augment(tf.gather(x, i)), "target": clean, "augmented": augment(clean)}
        return inputs, tf.gather(y, i)

    options = tf.data.Options()
    options.autotune.enabled = False  # nothing here can be tuned, and the end of `fit` would wait for the tuner
    return tf.data.Dataset.zip(rows, target_rows).batch(batch_size).map(batch).prefetch(2).with_options(options)
