"""Checks of the exercises of lesson 01: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from course_utils.data.image_folders import class_folders, visible_files
from course_utils.evaluation.metrics import mean_and_interval
from course_utils.exercises.answers import require


def check_carry(carry: Callable) -> None:
    """Check ``carry(source_network, classes)``, which copies M and puts a new head on it.

    Parameters
    ----------
    carry : callable
        Takes a ``Sequential`` of two layers called M and L, and a number of classes; returns a network with
        the weights of M and a new head that gives logits. All of it trains; the source does not change with it.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    source = _source()
    before = [value.copy() for value in source.get_weights()]
    images, labels = _scans()
    answer = carry(source, 4)
    outputs = _outputs(answer, images, "carry")
    require(outputs.shape == (len(images), 4), f"For 4 classes the new network gives {outputs.shape[1:]} numbers.")
    require(
        not _are_probabilities(outputs),
        "The new network gives probabilities; leave the softmax to the loss, as in section 3.",
    )
    same = carry(source, 10)
    _outputs(same, images, "carry")
    carried, head = source.get_layer("M").get_weights(), source.get_layer("L").get_weights()[0]
    require(
        all(any(np.array_equal(old, new) for new in answer.get_weights()) for old in carried),
        "The new network does not have the weights of M: clone_model copies layers, not their weights.",
    )
    require(
        not any(np.array_equal(head, new) for new in same.get_weights()),
        "For 10 classes the old head came along: the new one must start at random.",
    )
    require(len(answer.trainable_weights) == len(before), "A part is frozen: M and the head must both train.")
    answer.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    answer.fit(images, labels % 4, verbose=0)
    require(
        all(np.array_equal(*pair) for pair in zip(before, source.get_weights(), strict=True)),
        "Training the new network changed the source: both share one M, so make a copy of it.",
    )
    print("carry is right: the weights of M, a new head, and a source that stays as it is.")


def check_make_ready(make_ready: Callable) -> None:
    """Check ``make_ready(source_network)``, which prepares a network for dark ink on white paper.

    Parameters
    ----------
    make_ready : callable
        Takes a network that expects light ink on dark, 0-255, scales the pixels itself and gives logits; returns a
        compiled copy, not trained yet, that takes dark ink on white, 0-255, and gives logits or probabilities.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    source = _source()
    before = [value.copy() for value in source.get_weights()]
    scans, labels = _scans()
    answer = make_ready(source)
    outputs = _outputs(answer, scans, "make_ready")
    found = _pixels_seen(source, scans, outputs)
    require(found is not None, "The network does not answer as the source does: its weights were not carried over.")
    require(found == "inverted", f"The source gets the pixels {found}; it wants light ink on dark, from 0 to 255.")
    require(answer.compiled, "The network is not compiled: compile it.")
    p = outputs if _are_probabilities(outputs) else _softmax(outputs)
    expected = -np.log(p[np.arange(len(labels)), labels]).mean()
    loss = answer.evaluate(scans, labels, return_dict=True, verbose=0)["loss"]
    require(
        np.isclose(loss, expected, rtol=0.01),
        f"The loss of these outputs is {loss:.2f}, but their cross-entropy is {expected:.2f}: "
        "does the loss know that they are logits?",
    )
    copied = [value.copy() for value in answer.get_weights()]
    answer.fit(scans, labels, verbose=0)
    require(
        not any(np.array_equal(*pair) for pair in zip(copied, answer.get_weights(), strict=True)),
        "After fit some weights are where they were: nothing may be frozen, and the learning rate must not be 0.",
    )
    require(
        all(np.array_equal(*pair) for pair in zip(before, source.get_weights(), strict=True)),
        "Training the network changed the source: work on a copy.",
    )
    print("make_ready is mended: weights carried, pixels inverted and scaled once, a loss from logits.")


def check_pairs(carried: Sequence[float], alone: Sequence[float], folder: str | Path) -> float:
    """Compare accuracies with and without a source, pair by pair, and print the mean and its 95% interval.

    Parameters
    ----------
    carried, alone : sequence of float
        At least five accuracies each on all images of `folder`, of the same draws in the same order.
    folder : str or pathlib.Path
        With a subfolder for each class.

    Returns
    -------
    float
        The mean gain.

    Raises
    ------
    ExerciseError
        When these cannot be accuracies on the folder, or not of pairs.
    """
    images = sum(len(visible_files(path)) for path in class_folders(folder).values())
    require(len(carried) == len(alone) >= 5, f"There are {len(carried)} and {len(alone)} accuracies; take five pairs.")
    pairs = np.array([carried, alone], dtype=float)
    counts = pairs * images
    require(
        bool(np.all((pairs >= 0) & (pairs <= 1) & (abs(counts - counts.round()) < 0.01))),
        f"An accuracy is no share of the {images} images: evaluate on all of them, from 0 to 1, and do not round.",
    )
    require(not np.array_equal(*pairs), "Both lists are the same: was the same network evaluated twice in each draw?")
    require(
        bool(np.ptp(pairs, axis=1).all()), "A list holds one value five times: does each draw train a network anew?"
    )
    gain, half_width = mean_and_interval(pairs[0] - pairs[1])
    verdict = "no clear difference" if abs(gain) <= half_width else "it helps" if gain > 0 else "it harms"
    print(
        f"{len(carried)} pairs on {images} images: carried {pairs[0].mean():.2f}, from scratch {pairs[1].mean():.2f}, "
        f"gain {gain:+.3f} ± {half_width:.3f}: {verdict}."
    )
    return float(gain)


def _source() -> keras.Model:
    """Return a small network M, L for 8 x 8 images, with no weight at zero."""
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    extractor = keras.Sequential([*layers, keras.layers.Dense(12, activation="tanh")], name="M")
    source = keras.Sequential([extractor, keras.layers.Dense(10, name="L")])
    random = np.random.default_rng(0)
    source.set_weights([random.normal(0, 0.5, value.shape) for value in source.get_weights()])
    return source


def _scans() -> tuple[np.ndarray, np.ndarray]:
    """Return twenty bright random images and labels."""
    random = np.random.default_rng(1)
    return random.integers(90, 256, (20, 8, 8, 1)).astype("float32"), np.arange(20) % 10


def _outputs(answer: object, images: np.ndarray, name: str) -> np.ndarray:
    require(isinstance(answer, keras.Model), f"{name} must return the network; it returned {answer!r}.")
    return answer.predict(images, verbose=0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _are_probabilities(outputs: np.ndarray) -> bool:
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-4))


def _pixels_seen(source: keras.Model, scans: np.ndarray, outputs: np.ndarray) -> str | None:
    """Return which pixels the source must have seen to give these outputs, None when no way explains them."""
    ways = {
        "inverted": 255 - scans,
        "as they are": scans,
        "divided by 255 (it does that itself)": scans / 255,
        "inverted and divided by 255 (it does that itself)": (255 - scans) / 255,
        "with their sign turned": -scans,
    }
    for name, pixels in ways.items():
        logits = source.predict(pixels, verbose=0)
        expected = _softmax(logits) if _are_probabilities(outputs) else logits
        if np.allclose(outputs, expected, atol=1e-3):
            return name
    return None
