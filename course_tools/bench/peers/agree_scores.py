"""Scores, intervals and thresholds by statsmodels and torchmetrics; DeLong's interval in NumPy."""

import numpy as np
import statsmodels.api as sm
import torch
import torchmetrics.functional.classification as tm
from serving import serve
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

NORMAL_975 = 1.959963984540054  # quantile of the normal distribution


def intervals(runs):
    """Return mean and half width of the 95% interval of the mean of each row."""
    ends = np.array([DescrStatsW(row).tconfint_mean(0.05) for row in runs])
    return np.stack([ends.mean(1), (ends[:, 1] - ends[:, 0]) / 2], 1)


def predicted(runs):
    """Return where 99% of further runs fall: the interval of a new observation in a regression on a constant."""
    fits = [sm.OLS(row, np.ones(len(row))).fit() for row in runs]
    return np.array([fit.get_prediction([1]).conf_int(obs=True, alpha=0.01)[0] for fit in fits])


def two_classes(labels, scores):
    """Return the metrics of one set, in the order of the course."""
    both = torch.stack([1 - scores, scores], 1)
    return [
        *many_classes(labels, both),
        tm.binary_auroc(scores, labels),
        tm.binary_average_precision(scores, labels),
        tm.binary_recall(scores, labels),
        tm.binary_specificity(scores, labels),
    ]


def many_classes(labels, scores):
    options = {"num_classes": scores.shape[1], "average": "macro"}
    ways = (tm.multiclass_recall, tm.multiclass_precision, tm.multiclass_recall, tm.multiclass_f1_score)
    macro = [way(scores, labels, **options) for way in ways]
    accuracy = tm.multiclass_accuracy(scores, labels, num_classes=scores.shape[1], average="micro")
    return [accuracy, *macro, torch.nn.functional.nll_loss(scores.log(), labels)]


def best_balanced(labels, scores):
    false, true, _ = tm.binary_roc(scores, labels)
    return ((true + 1 - false) / 2).max()


def delong(labels, scores):
    """Return the ends of the 95% interval of the AUC: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    return wins.mean() + NORMAL_975 * np.sqrt(variance) * np.array([-1, 1])


def ways_for(inputs):
    labels, scores = torch.from_numpy(inputs["labels"]), torch.from_numpy(inputs["scores"])
    k_labels, k_scores = torch.from_numpy(inputs["k_labels"]), torch.from_numpy(inputs["k_scores"])
    sets = list(zip(labels, scores, strict=True))

    def of_sets(function):
        return lambda: np.array([function(*each) for each in sets])

    return {
        "intervals": lambda: intervals(inputs["runs"]),
        "predicted": lambda: predicted(inputs["runs"]),
        "wilson": lambda: np.array([proportion_confint(k, n, method="wilson") for k, n in inputs["counts"]]),
        "two classes": of_sets(two_classes),
        "many classes": lambda: np.array([many_classes(*each) for each in zip(k_labels, k_scores, strict=True)]),
        "best balanced": of_sets(best_balanced),
        "at specificity": of_sets(lambda y, p: tm.binary_sensitivity_at_specificity(p, y, min_specificity=0.9)[0]),
        "delong": lambda: np.mean([delong(y.numpy(), p.numpy()) for y, p in sets], 0)[None],
    }


if __name__ == "__main__":
    serve(ways_for)
