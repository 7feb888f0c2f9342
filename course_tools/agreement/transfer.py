"""Scores of transferability, beside their definitions."""

import numpy as np

from course_tools.agreement.table import Agreement, beside
from course_utils.zoo.transferability import h_score, log_evidence

SETS, ROWS, CLASSES = 6, 40, 3
GRID = 1e-3  # the course tries 81 ratios, the peer seeks the best one


def measure() -> list[Agreement]:
    """Return the lines: features of fewer and of more columns than rows, of which some know the class."""
    random = np.random.default_rng(0)
    labels = np.array([random.permutation(np.arange(ROWS) % CLASSES) for _ in range(SETS)])
    known = np.linspace(0, 2, SETS)[:, None, None] * np.eye(CLASSES)[labels]
    given = {"labels": labels}
    for name, width in {"narrow": 12, "wide": 60}.items():
        given[name] = random.normal(size=(SETS, ROWS, width)) + np.pad(known, [(0, 0), (0, 0), (0, width - CLASSES)])
    sets = [pair for name in ("narrow", "wide") for pair in zip(given[name], labels, strict=True)]
    return beside(
        "agree_transfer.py",
        given,
        [
            ("log evidence", "scipy, MacKay's formula", "evidence", GRID, [log_evidence(*pair) for pair in sets]),
            ("H-score", "numpy, formula of the paper", "h_score", 1e-8, [h_score(*pair) for pair in sets]),
        ],
    )
