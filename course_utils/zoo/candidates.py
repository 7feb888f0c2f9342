"""Networks scored and timed on a sample of one's own images: what the recommender decides by."""

import time
from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from course_utils.data.dataset import Samples
from course_utils.errors import CourseError
from course_utils.models.features import check_images, folded_graph
from course_utils.zoo.backbones import load_backbone
from course_utils.zoo.cost import median_seconds
from course_utils.zoo.transferability import log_evidence

BATCH = 32
HEAD_FITS = 5  # strengths of regularisation that are tried for a head


def measure_candidates(sample: Samples, candidates: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """Score and time networks on a sample of the target's images.

    Parameters
    ----------
    sample : Samples
        Labelled images 0-255 of shape (n, height, width, channels), some of every class.
    candidates : sequence of (str, int)
        Names of the registry, each with an input size in pixels.

    Returns
    -------
    DataFrame
        One row a candidate: ``name``, ``input size``, ``classes`` (of the sample), ``score`` (log evidence),
        ``random score`` (of the first candidate with random weights), and seconds for each image: ``pass``,
        ``head`` (fits of a logistic regression) and ``training step`` (all weights; how many passes it costs is
        measured on the first candidate).

    Raises
    ------
    CourseError
        If there are no candidates, one of them is unknown, or the sample holds no raw pixels.
    """
    if not candidates:
        raise CourseError("There are no candidates: give at least one pair of name and input size.")
    check_images(sample.x, 3)
    random_score, passes_of_a_step = measure_controls(sample, *candidates[0])
    rows = []
    for name, input_size in candidates:
        features, seconds = timed_features(load_backbone(name, input_size=input_size), sample.x)
        rows.append(
            {
                "name": name,
                "input size": input_size,
                "classes": len(np.unique(sample.y)),
                "score": log_evidence(features, sample.y),
                "random score": random_score,
                "pass": seconds,
                "head": HEAD_FITS * seconds_of_a_head(features, sample.y) / len(sample.y),
                "training step": seconds * passes_of_a_step,
            }
        )
    return pd.DataFrame(rows)


def timed_features(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Run images through the folded network; return the features, and the median seconds for an image."""
    batch = min(BATCH, len(images))
    run = folded_graph(model, tf.TensorSpec((batch, *images.shape[1:]), images.dtype))
    # The last batch begins earlier instead of being shorter: a new shape would mean a new graph.
    starts = [min(start, len(images) - batch) for start in range(0, len(images), batch)]
    features, times = np.empty((len(images), model.output_shape[-1]), np.float32), []
    run(images[:batch])
    for start in starts:
        begin = time.perf_counter()
        features[start : start + batch] = run(images[start : start + batch]).numpy()
        times.append(time.perf_counter() - begin)
    return features, float(np.median(times)) / batch


def measure_controls(sample: Samples, name: str, input_size: int) -> tuple[float, float]:
    """Return the score of random weights, and how many passes a training step costs."""
    model = load_backbone(name, input_size=input_size, weights=None)
    features, seconds = timed_features(model, sample.x)
    probabilities = keras.layers.Dense(int(sample.y.max()) + 1, activation="softmax")(model.output)
    trained = keras.Model(model.input, probabilities)
    # The rule of the update hardly counts, and the graph of plain SGD is built five times faster than that of Adam.
    trained.compile("sgd", "sparse_categorical_crossentropy")
    batch = np.zeros((BATCH, *model.input_shape[1:]), np.float32), np.zeros(BATCH, int)
    step = median_seconds(lambda: trained.train_on_batch(*batch), 2) / BATCH
    return log_evidence(features, sample.y), step / seconds


def seconds_of_a_head(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the time to fit a logistic regression, in seconds."""
    start = time.perf_counter()
    LogisticRegression(C=10, max_iter=300, tol=1e-3).fit(normalize(features), labels)
    return time.perf_counter() - start
