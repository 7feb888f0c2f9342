"""Penalties of domain adaptation with their gradients, pseudo-labels and AdaBN, beside PyTorch."""

import keras
import numpy as np
import tensorflow as tf

from course_tools.agreement.table import Agreement, beside
from course_utils.adaptation import (
    Coral,
    DomainAdversary,
    MaximumMeanDiscrepancy,
    SelfLabelledClassifier,
    adapt_batch_norm,
)

PAIRS, ROWS, WIDTH, UNITS, CLASSES = 12, 16, 6, 5, 4
FLOAT32 = 2e-6  # of values and gradients around 0.1; PyTorch computes in float64
SHARES = [0.1, 0.2, 0.3, 0.4]
STRENGTH = 0.7


def measure() -> list[Agreement]:
    """Return the lines."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    given = {name: random.normal(size=(PAIRS, ROWS, WIDTH)) for name in ("source", "target")}
    given["target"] = 0.3 + 1.5 * given["target"]
    given |= {name: random.normal(0, 3, (PAIRS, 3 * ROWS, CLASSES)) for name in ("clean", "augmented")}
    given["batches"] = random.normal(2, 3, (7, ROWS, WIDTH))
    given = {name: values.astype(np.float32) for name, values in given.items()}
    adversary = built_adversary()
    given |= {f"adversary_{i}": weights for i, weights in enumerate(adversary.get_weights()[1:])}
    given |= {"strength": STRENGTH, "shares": SHARES}
    rows = [
        ("CORAL, gradients", "torch, formula of the paper", "coral", FLOAT32, penalised(Coral(), given)),
        ("MMD, gradients", "torch, formula of the papers", "mmd", FLOAT32, penalised(MaximumMeanDiscrepancy(), given)),
        ("domain adversary, gradients", "torch, own reversal", "adversary", FLOAT32, penalised(adversary, given)),
        ("pseudo-labels", "torch, formula of the paper", "fixmatch", FLOAT32, self_labelled(None, given)),
        ("pseudo-labels, aligned", "torch, formula of the papers", "aligned", FLOAT32, self_labelled(SHARES, given)),
        ("AdaBN", "torch", "statistics", 1e-5, adapted_statistics(given["batches"])),
    ]
    return beside("agree_adaptation.py", given, rows)


def built_adversary() -> DomainAdversary:
    """Return an adversary whose reversal has its strength; its weights begin with that."""
    adversary = DomainAdversary(UNITS)
    adversary.build((ROWS, WIDTH), (ROWS, WIDTH))
    adversary.reversal.strength.assign(STRENGTH)
    return adversary


def penalised(penalty: keras.layers.Layer, given: dict[str, np.ndarray]) -> np.ndarray:
    """Return for each pair the penalty, and its gradient for every feature, as one row."""
    rows = []
    for pair in zip(given["source"], given["target"], strict=True):
        source, target = map(tf.constant, pair)
        with tf.GradientTape() as tape:
            tape.watch([source, target])
            value = penalty(source, target)
        gradients = tape.gradient(value, [source, target])
        rows.append(np.concatenate([np.ravel(each) for each in (value, *gradients)]))
    return np.array(rows)


def self_labelled(shares: list[float] | None, given: dict[str, np.ndarray]) -> list[float]:
    """Return the loss on pseudo-labels of each pair of logits, with the running mean of a new model."""
    losses = []
    for pair in zip(given["clean"], given["augmented"], strict=True):
        model = SelfLabelledClassifier(keras.layers.Identity(), keras.layers.Identity(), shares=shares)
        losses.append(float(model.disagreement(*map(tf.constant, pair))))
    return losses


def adapted_statistics(batches: np.ndarray) -> np.ndarray:
    """Return the moving mean and variance of one layer after `adapt_batch_norm`."""
    model = keras.Sequential([keras.Input((WIDTH,)), norm := keras.layers.BatchNormalization()])
    adapt_batch_norm(model, batches.reshape(-1, WIDTH), batch_size=ROWS)
    return np.stack([norm.moving_mean, norm.moving_variance])
