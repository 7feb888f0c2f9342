"""Scores of transferability by their definitions, in NumPy and SciPy, without eigenvectors."""

import numpy as np
from scipy.linalg import helmert
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from serving import serve


def evidence(features, labels):
    """Return the mean over classes of the largest log evidence of a linear head, per degree of freedom.

    The marks of a class are normal with covariance s (I + r x x^T), MacKay (1992); Helmert's contrasts take their mean
    away. Both s and r are sought.
    """
    contrasts = helmert(len(labels))
    x = contrasts @ (features / np.linalg.norm(features, axis=1, keepdims=True))
    found = []
    for name in np.unique(labels):
        marks = contrasts @ (labels == name)

        def loss(logs, marks=marks):
            covariance = np.exp(logs[0]) * (np.eye(len(x)) + np.exp(logs[1]) * x @ x.T)
            return -multivariate_normal.logpdf(marks, cov=covariance)

        starts = [(np.log(marks.var() / (1 + r)), np.log(r)) for r in (1e-2, 1.0, 1e2)]
        bounds, options = [(-20, 5), (-9.2, 9.2)], {"xatol": 1e-6, "fatol": 1e-8}
        found.append(-min(minimize(loss, s, method="Nelder-Mead", bounds=bounds, options=options).fun for s in starts))
    return np.mean(found) / len(x)


def h_score(features, labels):
    """Return tr(cov(x)^-1 cov(E[x | class])), Bao et al. (2019), of features brought to length one."""
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.array([x[labels == name].mean(0) for name in labels])
    return np.trace(np.linalg.pinv(np.cov(x.T), rcond=1e-9) @ np.cov(means.T))


def ways_for(inputs):
    sets = [*zip(inputs["narrow"], inputs["labels"], strict=True), *zip(inputs["wide"], inputs["labels"], strict=True)]
    return {way.__name__: lambda way=way: np.array([way(*each) for each in sets]) for way in (evidence, h_score)}


if __name__ == "__main__":
    serve(ways_for)
