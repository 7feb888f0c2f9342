"""Checks of the exercises of lesson 07: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable
from numbers import Real

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from course_utils.data.dataset import Samples
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
    for wanted in (0.9, 0.99, 0.7):
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
            + (": it fits the test set." if abs(on_test - wanted) < 0.02 else "."),
        )
        found = np.mean(p_test[y_test == 1] >= threshold)
        for name, told, true in (("sensitivity", sensitivity, found), ("specificity", specificity, on_test)):
            require(
                np.isclose(told, true), f"The {name} on test at your threshold is {true:.3f}; you return {told:.3f}."
            )
    print("at_specificity is right.")


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
    (y_val, p_val), (y_one, p_one) = _scores(seed=2, shift=0.0), _scores(seed=3, shift=1.0)
    copies = 4  # images of each patient
    y, p, patients = (np.repeat(values, copies) for values in (y_one, p_one, np.arange(len(y_one))))
    answer = report(y_val, p_val, y, p, patients)
    names = ("threshold", "sensitivity", "AUC", "interval")
    require(isinstance(answer, dict) and set(answer) == set(names), f"report must return {', '.join(names)}.")
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
    _check_interval(np.asarray(answer["interval"], float), auc, y_one, p_one)
    print("report is mended.")


def _check_interval(interval: np.ndarray, auc: float, y: np.ndarray, p: np.ndarray) -> None:
    """Require about the 95% interval of the AUC that drawing the patients gives."""
    require(interval.shape == (2,) and interval[0] < auc < interval[1], f"The interval {interval} misses the AUC.")
    random, aucs = np.random.default_rng(1), []
    for _ in range(1000):
        rows = random.integers(0, len(y), len(y))
        aucs.append(roc_auc_score(y[rows], p[rows]))
    low, high = np.percentile(aucs, [2.5, 97.5])
    ratio = np.ptp(interval) / (high - low)
    require(
        ratio > 0.6,
        f"The interval has {ratio:.2f} of the width that is due here, where each patient has several images.",
    )
    require(
        0.8 < ratio < 1.25 and abs(interval[0] - low) < 0.25 * (high - low),
        f"The interval goes from {interval[0]:.3f} to {interval[1]:.3f}; drawing patients gives {low:.3f} to "
        f"{high:.3f}.",
    )


def check_own_place(scores: np.ndarray, threshold: float, test: Samples) -> float:
    """Tell how a network does on the images of another place.

    Parameters
    ----------
    scores : array of float, shape (n,)
        Probability of class 1 for each test image.
    threshold : float
        A score at or above it is called class 1.
    test : Samples
        The n test images and their labels.

    Returns
    -------
    float
        AUC.

    Raises
    ------
    ExerciseError
        When scores or threshold cannot belong to the images, or the scores are no better than chance.
    """
    require(scores is not None and threshold is not None, "Give my_scores and my_threshold; one is None.")
    scores, labels = np.asarray(scores, float), test.y
    require(
        scores.shape == labels.shape,
        f"my_scores has the shape {scores.shape}; there are {len(labels)} test images, so ({len(labels)},) is due.",
    )
    require(
        bool(np.isfinite(scores).all()) and scores.min() >= 0 and scores.max() <= 1,
        f"my_scores goes from {scores.min():.3g} to {scores.max():.3g}; probabilities lie between 0 and 1: "
        "are these logits?",
    )
    require(
        isinstance(threshold, Real) and 0 < threshold < 1,
        f"my_threshold is {threshold!r}; accepted is a number between 0 and 1.",
    )
    auc = float(roc_auc_score(labels, scores))
    require(auc > 0.5, f"The AUC is {auc:.3f}, no better than chance: are the classes exchanged, or the order lost?")
    called, told = scores >= threshold, []
    for label, name in ((1, "sensitivity"), (0, "specificity")):
        right, n = int((called == label)[labels == label].sum()), int((labels == label).sum())
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        told.append(f"{name} {right / n:.2f} ({low:.2f} to {high:.2f}, n = {n})")
    print(f"AUC {auc:.3f}; " + "; ".join(told) + ". Intervals: 95%, Wilson, if each image shows another patient.")
    return auc


def _scores(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of 400 images, two of three ill; the shift makes all look more ill."""
    random = np.random.default_rng(seed)
    labels = (np.arange(400) % 3 > 0).astype(int)
    return labels, 1 / (1 + np.exp(-(random.normal(2.2 * labels - 1.5 + shift, 1.0))))


def _balanced(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    called = scores >= threshold
    return (np.mean(called[labels == 1]) + np.mean(~called[labels == 0])) / 2
