"""Checks of the exercises of lesson 07: each tests the reader's answer and says in one sentence what is wrong."""

import functools
from collections.abc import Callable
from numbers import Real

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from course_utils.data.dataset import DataSplit
from course_utils.exercises.answers import require


def check_at_specificity(at_specificity: Callable) -> None:
    """Check ``at_specificity(y_val, p_val, y_test, p_test, specificity)``: a threshold chosen on validation.

    Parameters
    ----------
    at_specificity : callable
        Takes labels and scores of validation and test, and the specificity wanted on validation; returns the lowest
        threshold that has it, and sensitivity and specificity on test. A score at or above the threshold is called
        ill.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    (y_val, p_val), (y_test, p_test) = _scores(seed=0, shift=0.0), _scores(seed=1, shift=0.8)
    p_val, p_test = p_val.round(2), p_test.round(2)  # ties, so that > and >= differ
    for wanted in (0.9, 0.99, 0.6):
        answer = at_specificity(y_val, p_val, y_test, p_test, wanted)
        require(
            isinstance(answer, tuple | list | np.ndarray) and len(answer) == 3,
            f"at_specificity returned {answer!r} instead of threshold, sensitivity and specificity.",
        )
        threshold, sensitivity, specificity = (float(number) for number in answer)
        reached = np.mean(p_val[y_val == 0] < threshold)
        on_test = np.mean(p_test[y_test == 0] < threshold)
        require(
            reached >= wanted,
            f"At the threshold {threshold:.3f} the specificity on validation is {reached:.3f}, less than {wanted}"
            + (": was the sensitivity asked for?" if np.mean(p_val[y_val == 1] >= threshold) >= wanted else "."),
        )
        lower = p_val[p_val < threshold]
        require(
            len(lower) == 0 or np.mean(p_val[y_val == 0] < lower.max()) < wanted,
            f"The threshold {threshold:.3f} is not the lowest one with a specificity of {wanted} on validation"
            + _why_not_lowest(y_val, p_val, threshold, abs(on_test - wanted)),
        )
        found = np.mean(p_test[y_test == 1] >= threshold)
        strictly = np.mean(p_test[y_test == 1] > threshold), np.mean(p_test[y_test == 0] <= threshold)
        is_strict = np.allclose((sensitivity, specificity), strictly)
        hint = ": a score at the threshold is called ill." if is_strict else "."
        for name, told, true in (("sensitivity", sensitivity, found), ("specificity", specificity, on_test)):
            require(
                np.isclose(told, true),
                f"The {name} on test at your threshold is {true:.3f}; you return {told:.3f}{hint}",
            )
    print("at_specificity is right.")


def _why_not_lowest(labels: np.ndarray, scores: np.ndarray, threshold: float, off_on_test: float) -> str:
    """Return the likely cause of a threshold above the lowest one, as the end of a sentence."""
    kept, every = (roc_curve(labels, scores, drop_intermediate=drop)[2] for drop in (True, False))
    next_lower = every[every < threshold].max(initial=-np.inf)
    if np.isclose(threshold, kept).any() and not np.isclose(next_lower, kept).any():
        return ": roc_curve returns all thresholds only with drop_intermediate=False."
    return ": it fits the test set." if off_on_test < 0.02 else "."


def check_report(report: Callable) -> None:
    """Check ``report(y_val, p_val, y_test, p_test, patients)``, a report without the four planted faults.

    Parameters
    ----------
    report : callable
        Takes labels and scores of validation and test, and the patient of each test image; returns a dictionary of
        ``threshold`` (best balanced accuracy on validation), ``sensitivity`` and ``AUC`` on test, and ``interval``,
        the ends of the 95% bootstrap interval of the AUC over patients.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    y_val, p_val = _scores(seed=2, shift=0.0)
    y, p, patients = _images_of_patients()
    answer = report(y_val, p_val, y, p, patients)
    names = ("threshold", "sensitivity", "AUC", "interval")
    require(isinstance(answer, dict) and set(names) <= set(answer), f"report must return {', '.join(names)}.")
    threshold = float(answer["threshold"])
    best = max(_balanced(y_val, p_val, cut) for cut in p_val)
    require(
        np.isclose(_balanced(y_val, p_val, threshold), best),
        f"The threshold {threshold:.3f} has a balanced accuracy of {_balanced(y_val, p_val, threshold):.3f} on "
        f"validation, and the best one {best:.3f}.",
    )
    found = np.mean(p[y == 1] >= threshold)
    require(
        np.isclose(answer["sensitivity"], found),
        f"The sensitivity is {answer['sensitivity']:.3f}, but {found:.3f} of the pneumonias are found: what is the "
        "share of?",
    )
    auc = roc_auc_score(y, p)
    require(
        np.isclose(answer["AUC"], auc), f"The AUC is {answer['AUC']:.3f}; scikit-learn gives {auc:.3f} for the scores."
    )
    _check_interval(np.asarray(answer["interval"], float), auc)
    print("report is mended.")


def _check_interval(interval: np.ndarray, auc: float) -> None:
    """Require about the 95% interval of the AUC that drawing the patients gives."""
    require(interval.shape == (2,) and interval[0] < auc < interval[1], f"The interval {interval} misses the AUC.")
    low, high = _interval_over_patients()
    ratio = np.ptp(interval) / (high - low)
    require(
        ratio > 0.6,
        f"The interval has {ratio:.2f} of the width that is due here, where a patient may have several images.",
    )
    require(
        0.83 < ratio < 1.2 and abs(interval[0] - low) < 0.25 * (high - low),
        f"The interval goes from {interval[0]:.3f} to {interval[1]:.3f}; drawing patients gives {low:.3f} to "
        f"{high:.3f}: does a patient who is drawn twice count twice, each time with all images?",
    )


def check_own_place(scores: dict[str, np.ndarray], threshold: float, data: DataSplit) -> float:
    """Tell how a network does on the images of another place.

    Parameters
    ----------
    scores : dict of array of float
        Under ``"validation"`` and ``"test"``, the probability of class 1 for each image of that part.
    threshold : float
        A score at or above it is called class 1: the highest one with a sensitivity of 0.95 on validation.
    data : DataSplit
        The images and their labels.

    Returns
    -------
    float
        AUC on test.

    Raises
    ------
    ExerciseError
        When scores or threshold cannot belong to the images, the threshold was not chosen on validation, or the
        scores are no better than chance.
    """
    require(scores is not None and threshold is not None, "Give my_scores and my_threshold; one is None.")
    require(
        isinstance(scores, dict) and {"validation", "test"} <= set(scores),
        'my_scores must be a dictionary with the scores of "validation" and of "test".',
    )
    scores = {name: _probabilities(scores[name], name, getattr(data, name).y) for name in ("validation", "test")}
    require(
        isinstance(threshold, Real) and 0 < threshold < 1,
        f"my_threshold is {threshold!r}; accepted is a number between 0 and 1.",
    )
    _check_choice(scores, threshold, data)
    labels, called, told = data.test.y, scores["test"] >= threshold, []
    auc = float(roc_auc_score(labels, scores["test"]))
    require(auc > 0.5, f"The AUC is {auc:.3f}, no better than chance: are the classes exchanged, or the order lost?")
    for label, name in ((1, "sensitivity"), (0, "specificity")):
        right, n = int((called == label)[labels == label].sum()), int((labels == label).sum())
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        told.append(f"{name} {right / n:.2f} ({low:.2f} to {high:.2f}, n = {n})")
    print(f"AUC {auc:.3f}; " + "; ".join(told) + ". Intervals: 95%, Wilson, if each image shows another patient.")
    return auc


def _probabilities(scores: np.ndarray, part: str, labels: np.ndarray) -> np.ndarray:
    """Return the scores of one part; refuse what are no probabilities of its images."""
    scores = np.asarray(scores, float)
    require(
        scores.shape == labels.shape,
        f"my_scores of {part} has the shape {scores.shape}; it should be ({len(labels)},).",
    )
    require(
        bool(np.isfinite(scores).all()) and scores.min() >= 0 and scores.max() <= 1,
        f"my_scores of {part} goes from {scores.min():.3g} to {scores.max():.3g}; probabilities lie between 0 and 1: "
        "are these logits?",
    )
    return scores


def _check_choice(scores: dict[str, np.ndarray], threshold: float, data: DataSplit) -> None:
    """Require the highest threshold with a sensitivity of 0.95 on validation, or one that makes the same decisions."""
    best = {name: _highest(scores[name][getattr(data, name).y == 1]) for name in scores}
    on_validation = scores["validation"]
    require(
        np.array_equal(on_validation >= threshold, on_validation >= best["validation"]),
        f"my_threshold is {threshold:.3f}; the highest one with a sensitivity of 0.95 on validation is "
        f"{best['validation']:.3f}" + (": yours fits the test set." if np.isclose(threshold, best["test"]) else "."),
    )


def _highest(of_ill: np.ndarray) -> float:
    """Return the highest threshold that at least 95% of the scores of the ill reach."""
    return np.sort(of_ill)[int(0.05 * len(of_ill) + 1e-9)]


def _scores(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of 400 images, two of three ill; the shift makes all look more ill."""
    random = np.random.default_rng(seed)
    labels = (np.arange(400) % 3 > 0).astype(int)
    return labels, 1 / (1 + np.exp(-(random.normal(2.2 * labels - 1.5 + shift, 1.0))))


def _images_of_patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores and patients of images in random order: a patient has 1 or 12, which differ a little."""
    labels, scores = _scores(seed=3, shift=1.0)
    random = np.random.default_rng(4)
    owner = random.permutation(np.repeat(np.arange(len(labels)), random.choice([1, 1, 1, 12], len(labels))))
    logits = np.log(scores / (1 - scores))[owner] + random.normal(0, 0.3, len(owner))
    return labels[owner], 1 / (1 + np.exp(-logits)), owner


@functools.cache
def _interval_over_patients() -> tuple[float, float]:
    """Return the ends of the 95% bootstrap interval of the AUC: how often a patient is drawn weights all its images."""
    labels, scores, patients = _images_of_patients()
    random, n = np.random.default_rng(1), patients.max() + 1
    times = [np.bincount(random.integers(0, n, n), minlength=n) for _ in range(600)]
    low, high = np.percentile(
        [roc_auc_score(labels, scores, sample_weight=each[patients]) for each in times], [2.5, 97.5]
    )
    return low, high


def _balanced(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    called = scores >= threshold
    return (np.mean(called[labels == 1]) + np.mean(~called[labels == 0])) / 2
