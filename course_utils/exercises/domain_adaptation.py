"""Checks of the exercises of lesson 04: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable
from numbers import Real

import numpy as np
import tensorflow as tf

from course_utils.exercises.answers import ExerciseError, require


def check_reverse(reverse: Callable) -> None:
    """Check ``reverse(x, strength)``: the identity forward, -strength times the gradient backward.

    Parameters
    ----------
    reverse : callable
        Takes a tensor and a number; returns a tensor of the same shape.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    x = tf.constant([0.3, -1.2, 2.0])
    for strength in (1.0, 0.3, 0.0):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = reverse(x, strength)
            require(y is not None, "reverse returns nothing: return a tensor.")
            require(tf.is_tensor(y), f"reverse returns {y!r}: return a tensor.")
            value = tf.reduce_sum(tf.sin(y))
        require(
            np.shape(y) == (3,) and np.allclose(y, x),
            "Forward, reverse changes the values of x; it must return them as they are.",
        )
        _check_gradient(tape.gradient(value, x), np.cos(x), strength)  # the derivative of the sine
    print("reverse is right.")


def _check_gradient(gradient: tf.Tensor | None, unchanged: np.ndarray, strength: float) -> None:
    """Compare a gradient with -strength times the one that the identity has."""
    if strength == 1.0:
        require(gradient is not None, "Backward, no gradient comes through: part of the sum must depend on x itself.")
        require(np.any(gradient != 0), "Backward, there is no gradient at strength 1: do the parts of the sum cancel?")
    found = np.zeros(3) if gradient is None else gradient.numpy()
    if strength == 1.0:
        require(
            not np.allclose(found, unchanged, atol=1e-4),
            "Backward, the gradient has the sign that it has without reversal: turn it.",
        )
    require(
        np.allclose(found, -strength * unchanged, atol=1e-4),
        f"Backward, the gradient is not -strength times what it is without reversal (strength {strength}).",
    )


def check_label_loss(label_loss: Callable) -> None:
    """Check ``label_loss(clean_logits, augmented_logits, threshold)``, the loss of consistency pseudo-labels.

    Parameters
    ----------
    label_loss : callable
        Takes two tensors of logits, (n, k), and a threshold; returns the mean over all n of the cross-entropy
        with the labels of the clean logits, 0 where their probability is not above the threshold.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    sure, unsure = [6.0, 0.0, 0.0], [0.5, 0.0, 0.0]
    other = [0.0, 4.0, 1.0]

    def loss(clean, augmented, threshold=0.9):
        return _loss(label_loss(tf.constant(clean), tf.constant(augmented), threshold))

    one, low = loss([sure], [other]), loss([[0.95, 0.9, 0.9]], [other])
    require(
        one > 0.1,
        "Clean and augmented image have different labels, yet the loss is nearly 0: take the label of the clean one.",
    )
    right = np.log(np.exp(other).sum())  # cross-entropy of `other` with class 0
    soft = right - np.dot(np.exp(sure), other) / np.exp(sure).sum()  # with the probabilities of `sure`
    require(
        not np.isclose(one, soft, rtol=1e-4), "The labels are probabilities: take the class of the largest one, argmax."
    )
    require(
        np.isclose(one, right, rtol=1e-3),
        f"The cross-entropy of a confident image is {one:.3f}, where -log softmax is {right:.3f}: give the logits as "
        "they are, with from_logits=True, and weight no image by its confidence.",
    )
    confidence = "confidence is the largest softmax (axis=1) of the clean logits."
    require(low == 0, f"An image of probability 0.34 is counted: {confidence}")
    require(loss([sure], [unsure]) > 0, f"An image of probability 0.995 is left out: {confidence}")
    require(
        loss([unsure], [other]) == 0, "An image of probability 0.45 is used; only those above the threshold may be."
    )
    require(loss([unsure], [other], 0.4) > 0, "The argument threshold is not used.")
    require(
        loss([[-1.0, -9.0, -9.0]], [other]) > 0,
        f"An image of probability 0.999 whose logits are negative is left out: {confidence}",
    )
    both = loss([sure, unsure], [other, other])
    require(
        np.isclose(both, right / 2, rtol=1e-3), "The mean is over all images of the batch, not over confident ones."
    )
    print("label_loss is mended.")


def _loss(value: object) -> np.ndarray:
    """Return what a `label_loss` returned, if it is one number."""
    require(value is not None, "label_loss returns nothing: return the loss.")
    loss = np.asarray(value)
    require(loss.shape == (), f"The loss has shape {loss.shape}: take the mean over the batch.")
    require(
        not np.isnan(loss),
        "The loss is nan where no image is confident, 0 / 0: take the mean over all images of the batch.",
    )
    return loss


def check_tell_apart(tell_apart: Callable, old: np.ndarray, new: np.ndarray) -> float:
    """Check ``tell_apart(old, new)`` on images made here, then use it on the reader's.

    Parameters
    ----------
    tell_apart : callable
        Takes two arrays of images, each (n, height, width, channels) of 0 to 255; returns the accuracy of a classifier
        that names the domain of images which it was not fitted on.
    old, new : ndarray
        The reader's images, of one size.

    Returns
    -------
    float
        The accuracy on the reader's images.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    for name, images in (("old", old), ("new", new)):
        require(len(images) >= 10, f"There are {len(images)} {name} images: give ten or more.")
    require(
        np.shape(old)[1:] == np.shape(new)[1:],
        f"Your images have shapes {np.shape(old)[1:]} and {np.shape(new)[1:]}: give images of one size.",
    )
    _check_chance(tell_apart)
    light, dark = _noise(np.random.default_rng(0), 40), _noise(np.random.default_rng(2), 40) * 0.3
    far = _share(tell_apart, light, dark)
    require(
        far > 0.9,
        f"On noise and noise three times as dark tell_apart says {far:.2f}; these are easy to tell apart: "
        "shuffle first, divide the pixels by 255, train longer.",
    )
    accuracy = _share(tell_apart, old, new)
    print(
        f"{len(old)} old and {len(new)} new images are told apart with an accuracy of {accuracy:.2f}; 0.5 is guessing."
    )
    if accuracy < 0.35:
        print("Far below 0.5: are the same images in both folders?")
    return accuracy


def _check_chance(tell_apart: Callable) -> None:
    """Refuse what is not near 0.5 on two samples of one noise: few images, so that two features are overfitted, too."""
    random = np.random.default_rng(1)
    chance = np.mean([_share(tell_apart, _noise(random, 10), _noise(random, 10)) for _ in range(10)])
    says = f"On ten pairs of samples of the same noise tell_apart says {chance:.2f} on average"
    if chance > 0.6:
        black = np.zeros((10, 28, 28, 3), "float32")
        require(_share(tell_apart, black, black) < 0.6, f"{says}, and no less on black images: it looks at no image.")
    require(chance < 0.6, f"{says}: it is judged on images that it was fitted on.")
    require(
        chance > 0.35, f"{says}, where 0.5 is guessing: shuffle first, and use a few folds with as many of each domain."
    )


def _noise(random: np.random.Generator, n: int) -> np.ndarray:
    return random.integers(0, 256, (n, 28, 28, 3)).astype("float32")


def _share(tell_apart: Callable, old: np.ndarray, new: np.ndarray) -> float:
    """Return the accuracy that `tell_apart` returns; name what makes scikit-learn refuse images."""
    try:
        value = tell_apart(old, new)
    except ValueError as error:
        if "dim 4" in str(error):
            raise ExerciseError("scikit-learn takes one row for each image: x.reshape(len(x), -1).") from None
        raise
    require(not tf.is_tensor(value), "tell_apart returns a tensor: return a number, such as float(accuracy).")
    require(
        isinstance(value, Real) and 0 <= value <= 1, f"tell_apart returns {value!r}: return an accuracy from 0 to 1."
    )
    return float(value)
