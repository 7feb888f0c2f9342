"""Checks of the exercises of lesson 05: each tests the reader's answer and says in one sentence what is wrong."""

import time
from collections.abc import Callable, Hashable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from course_utils.exercises.answers import require

FIRST_CALL_SECONDS = 0.5  # what the first call of a checked network takes, as the making of a graph does


def check_choose(choose: Callable) -> None:
    """Check ``choose(table, budget)``: the cheapest network that is as good as the best affordable one.

    Parameters
    ----------
    choose : callable
        Takes a table with the columns ``score``, ``standard error`` and ``ms``, indexed by candidates, and a budget
        in milliseconds. Returns the index of the cheapest candidate whose score is at least the best score within
        the budget less the standard error of that best one; raises ValueError if nothing fits.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    rows = {"large": (0.90, 0.02, 30.0), "good": (0.80, 0.03, 10.0), "small": (0.78, 0.06, 6.0)}
    rows |= {"tiny": (0.75, 0.09, 3.0), "poor": (0.20, 0.30, 1.0)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["score", "standard error", "ms"])
    for budget, expected in {30: "large", 29: "small", 10: "small", 8: "tiny", 2: "poor"}.items():
        answer = choose(table.sample(frac=1, random_state=budget), budget)
        _check_choice(table, budget, answer, expected)
    try:
        answer = choose(table, 0.5)
    except ValueError:
        print("choose is right: within the budget, within one standard error of the best, and then the cheapest.")
        return
    require(False, f"Nothing fits a budget of 0.5 ms, yet the answer is {answer!r}: raise a ValueError.")


def _check_choice(table: pd.DataFrame, budget: float, answer: Any, expected: str) -> None:
    said = f"With a budget of {budget} ms you choose {answer!r}"
    require(isinstance(answer, str) and answer in table.index, f"{said}, which is no name in the index of the table.")
    chosen, best = table.loc[answer], table[table["ms"] <= budget]["score"].idxmax()
    require(chosen["ms"] <= budget, f"{said}, which takes {chosen['ms']:g} ms: filter by the budget first.")
    lowest = table.loc[best, "score"] - table.loc[best, "standard error"]
    require(
        chosen["score"] >= lowest,
        f"{said} with a score of {chosen['score']:.2f}; the best one that fits has {table.loc[best, 'score']:.2f} with "
        f"a standard error of {table.loc[best, 'standard error']:.2f}, so the score must be {lowest:.2f} or more.",
    )
    require(
        answer == expected,
        f"{said}, but {expected!r} is within one standard error of the best one that fits, and cheaper.",
    )


class _Network:
    """A network whose features are noise, with the labels in them if it is `good`; its first call is slow."""

    def __init__(self, name: str, labels: np.ndarray, good: bool):
        self.name, self.labels, self.good = name, labels, good
        self.largest, self.calls = 0.0, 0

    def __call__(self, images, training: bool = False):
        images = np.asarray(images)
        self.largest, self.calls = max(self.largest, float(images.max())), self.calls + 1
        if self.calls == 1:
            time.sleep(FIRST_CALL_SECONDS)
        seen = np.abs(images[:, 0, 0, 1].round()).astype(int)  # the number of the image
        noise = np.stack([np.random.default_rng(int(k)).normal(size=80) for k in seen])
        if self.good:
            noise[:, :2] += 6 * np.eye(2)[self.labels[seen % len(self.labels)]]
        return noise

    def predict(self, images, verbose: int = 0, batch_size: int = 32):
        return self(images)


def check_compare(compare: Callable) -> None:
    """Check ``compare(networks, images, labels)``, a comparison without the three planted faults.

    Parameters
    ----------
    compare : callable
        Takes a dict of networks that hold their own preprocessing, raw images 0-255 and labels. Returns for each name
        a pair: the accuracy of a head on images that it was not fitted on, and the milliseconds for an image.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    labels = np.arange(40) % 2
    images = np.full((40, 4, 4, 3), 200, np.float32)
    images[:, 0, 0, 1] = np.arange(40)
    networks = {"noise": _Network("noise", labels, False), "good": _Network("good", labels, True)}
    answer = compare(networks, images, labels)
    require(
        isinstance(answer, Mapping) and set(answer) == set(networks) and {len(pair) for pair in answer.values()} == {2},
        "compare must return a dict from each name to a pair: accuracy and milliseconds.",
    )
    for name, network in networks.items():
        require(network.calls > 0, f"The network {name!r} was never called.")
        require(
            network.largest == 200,
            f"The brightest value that a network got is {network.largest:.3g}, in the images it is 200: each "
            "network has its own preprocessing inside and wants raw pixels.",
        )
    (noise, _), (good, _) = answer["noise"], answer["good"]
    require(
        noise < 0.8,
        f"A network whose features are pure noise has an accuracy of {noise:.2f}: the head is judged on images that "
        "it was fitted on.",
    )
    require(good > 0.8, f"A network with the labels in its features has an accuracy of {good:.2f} only.")
    for name, (_, milliseconds) in answer.items():
        slow = 1000 * FIRST_CALL_SECONDS / len(labels)
        require(milliseconds >= 0, f"The network {name!r} takes {milliseconds:.2g} ms for an image: end minus begin.")
        require(
            milliseconds < 0.8 * slow,
            f"The network {name!r} takes {milliseconds:.1f} ms for an image, most of it for its first call, in which "
            "a graph is made: call it once before the clock starts.",
        )
    print("compare is mended: raw pixels, accuracy on held-out images, the first call not timed.")


def check_regret(accuracies: Mapping[Hashable, float], taken: Hashable, regret: float) -> None:
    """Check the regret of a choice.

    Parameters
    ----------
    accuracies : mapping of candidate to float
        The test accuracy of every candidate of the full comparison, two or more.
    taken : hashable
        The candidate that was recommended.
    regret : float
        The accuracy given away by taking it instead of the best one.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    require(
        isinstance(accuracies, Mapping) and len(accuracies) > 1,
        "accuracies must be a dict with the test accuracy of two candidates or more.",
    )
    wrong = [key for key, value in accuracies.items() if not (isinstance(value, Real) and 0 <= value <= 1)]
    require(not wrong, f"The accuracy of {wrong[:1]} is no number from 0 to 1.")
    require(taken in accuracies, f"The recommended candidate {taken!r} is not among the accuracies.")
    expected = max(accuracies.values()) - accuracies[taken]
    require(
        isinstance(regret, Real) and abs(regret - expected) < 1e-6,
        f"The regret is {regret!r}, but the best candidate has {max(accuracies.values()):.3f} and the recommended one "
        f"{accuracies[taken]:.3f}.",
    )
    best = max(accuracies.values())
    print(f"The best candidate has {best:.3f}, {taken} has {accuracies[taken]:.3f}: regret {regret:.3f}.")
