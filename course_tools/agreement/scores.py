"""Scores, thresholds and intervals, beside statsmodels and torchmetrics."""

import numpy as np
from scipy.stats import binomtest, rankdata

from course_tools.agreement.table import Agreement, beside
from course_utils.evaluation import (
    bootstrap_interval,
    choose_threshold,
    classification_metrics,
    mean_and_interval,
    prediction_interval,
    sensitivity_at_specificity,
)

SETS, ROWS, CLASSES = 40, 300, 4
EXACT, FLOAT32 = 1e-10, 1e-6  # torchmetrics counts in float32
DRAWN = 5e-3  # a bootstrap and DeLong's normal approximation are two methods; their intervals are some 0.1 wide


def drawn() -> dict[str, np.ndarray]:
    """Return labels with scores that know something of them, two classes and four, and repeated runs."""
    random = np.random.default_rng(0)
    labels = (random.random((SETS, ROWS)) < np.linspace(0.15, 0.7, SETS)[:, None]).astype(int)
    scores = 1 / (1 + np.exp(-random.normal(1.5 * labels - 0.5, 1.2)))
    # Half of the sets have ties, but none of them on the boundary of an interval, where float32 and float64 differ.
    scores[::2] = scores[::2].round(2).clip(0.01, 0.98) + 0.003
    k_labels = random.integers(0, CLASSES, (SETS, ROWS))
    k_scores = np.exp(random.normal(1.2 * np.eye(CLASSES)[k_labels], 1.0))
    n = random.integers(1, 200, SETS)
    return {
        "labels": labels,
        "scores": scores,
        "k_labels": k_labels,
        "k_scores": k_scores / k_scores.sum(-1, keepdims=True),
        "runs": random.normal(0.8, 0.05, (SETS, 5)),
        "counts": np.stack([random.binomial(n, 0.8), n], 1),
    }


def measure() -> list[Agreement]:
    """Return the lines."""
    given = drawn()
    sets, runs = list(zip(given["labels"], given["scores"], strict=True)), given["runs"]
    many = zip(given["k_labels"], given["k_scores"], strict=True)
    wilson = [binomtest(int(k), int(n)).proportion_ci(method="wilson") for k, n in given["counts"]]
    rows = [
        ("mean, 95% interval", "statsmodels", "intervals", EXACT, [mean_and_interval(row) for row in runs]),
        ("interval of one more run", "statsmodels", "predicted", EXACT, [prediction_interval(row) for row in runs]),
        ("Wilson interval of lesson 07", "statsmodels", "wilson", EXACT, wilson),
        ("metrics, two classes", "torchmetrics", "two classes", FLOAT32, [metrics(*pair) for pair in sets]),
        ("metrics, four classes", "torchmetrics", "many classes", FLOAT32, [metrics(*pair) for pair in many]),
        ("best threshold", "torchmetrics", "best balanced", FLOAT32, [best(*pair) for pair in sets]),
        ("sensitivity at specificity 0.9", "torchmetrics", "at specificity", FLOAT32, [at_90(*pair) for pair in sets]),
        (f"interval of the AUC, mean of {SETS}", "numpy, DeLong's formula", "delong", DRAWN, [auc_interval(sets)]),
    ]
    return beside("agree_scores.py", given, rows)


def metrics(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    return list(classification_metrics(labels, scores).values())


def best(labels: np.ndarray, scores: np.ndarray) -> float:
    return classification_metrics(labels, scores, choose_threshold(labels, scores))["balanced_accuracy"]


def at_90(labels: np.ndarray, scores: np.ndarray) -> float:
    return sensitivity_at_specificity(labels, scores, 0.9)


def auc_interval(sets: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the mean ends of the interval, in which the noise of drawing nearly cancels."""
    return np.mean([bootstrap_interval(area, *pair, repeats=500) for pair in sets], 0)


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve by ranks, which is quick enough for a bootstrap."""
    positive = labels == 1
    n, m = positive.sum(), (~positive).sum()
    return (rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m)
