"""Features of a frozen network, computed once and kept on disk."""

import hashlib
import json
import random
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from course_utils.cache import cached, hash_arrays
from course_utils.errors import CourseError, whole_number
from course_utils.models.folding import fold_batch_norm

# Part of every key: raise it when the computation changes.
VERSION = 1
# Parts of a configuration that do not change what a trained model computes.
IRRELEVANT = ("seed", "trainable")
PROGRESS_AFTER_SECONDS = 3


def extract_features(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Run images through a frozen network; the same call costs nothing the second time.

    Images of another size are resized (bilinear) and grey ones repeated to three colours. The result
    is cached by content: weights, configuration (with preprocessing and size) and pixels. A damaged
    cache file is computed again. The state of the random generators is left as it was, so that a
    script draws the same numbers with and without the cache.

    Parameters
    ----------
    model : keras.Model
        Flat functional model from raw pixels to (n, d), such as `load_backbone` gives.
    images : ndarray of shape (n, height, width, channels)
        Raw pixels 0-255 with 1 or 3 channels.
    batch_size : int
        Images computed at a time.

    Returns
    -------
    ndarray of shape (n, d), float32

    Raises
    ------
    CourseError
        If the images are no raw pixels, or the model is no network from images to vectors.
    """
    check_model(model)
    check_images(images, model.input_shape[-1])
    batch_size = whole_number("batch_size", batch_size)
    return cached(feature_key(model, images), len(images), lambda: compute_features(model, images, batch_size))


def compute_features(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Run images through the folded network, the last batch filled up."""
    batch_size = min(batch_size, len(images))
    run = folded_graph(model, tf.TensorSpec((batch_size, *images.shape[1:]), images.dtype))
    features = np.empty((len(images), model.output_shape[-1]), np.float32)
    starts = range(0, len(images), batch_size)
    for start in tqdm(starts, "features", leave=False, disable=None, delay=PROGRESS_AFTER_SECONDS, unit="batch"):
        batch = images[start : start + batch_size]
        # The last batch is filled up: a new shape would mean a new graph.
        missing = [(0, batch_size - len(batch))] + [(0, 0)] * 3
        features[start : start + batch_size] = run(np.pad(batch, missing)).numpy()[: len(batch)]
    return features


def folded_graph(model: keras.Model, batch: tf.TensorSpec) -> Callable[[np.ndarray], tf.Tensor]:
    """Return the folded network as a TensorFlow graph from a batch of raw pixels to features."""
    random_state = random.getstate()
    folded = fold_batch_norm(model)  # draws initial weights that are overwritten at once
    random.setstate(random_state)
    height, width, channels = model.input_shape[1:]

    @tf.function(input_signature=[batch], autograph=False)
    def run(pixels):
        resized = tf.image.resize(pixels, (height, width), method="bilinear")
        return folded(tf.repeat(resized, channels // resized.shape[-1], axis=-1), training=False)

    return run


def check_model(model: keras.Model) -> None:
    """Refuse a model that does not lead from images of one size to vectors."""
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    ranks = [len(shape) if isinstance(shape, tuple) else 0 for shape in shapes]
    if ranks != [4, 2] or None in shapes[0][1:] + shapes[1][1:]:
        raise CourseError(
            f"The model leads from {shapes[0]} to {shapes[1]}: "
            "features need one from (n, height, width, channels) to (n, d)."
        )


def check_images(images: np.ndarray, channels: int) -> None:
    """Refuse what is no array of raw pixels 0-255."""
    shape, dtype = getattr(images, "shape", ()), getattr(images, "dtype", type(images).__name__)
    wrong = ""
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.size == 0 or images.dtype.kind not in "uif":
        wrong = f"are of type {dtype} and shape {shape}"
    elif shape[-1] not in (1, channels):
        wrong = f"have {shape[-1]} channels, not 1 or {channels}"
    elif not (images.min() >= 0 and images.max() <= 255):  # not so for NaN either
        wrong = f"reach from {images.min():g} to {images.max():g}"
    elif dtype.kind == "f" and images.max() <= 1:
        wrong = f"are scaled to [0, 1], their maximum is {images.max():g}"
    if wrong:
        raise CourseError(f"The images {wrong}: accepted are raw pixels 0-255, (n, height, width, channels).")


def feature_key(model: keras.Model, images: np.ndarray) -> str:
    """Return a SHA-256 over all that the features depend on: configuration, weights and pixels."""
    digest = hashlib.sha256(f"features {VERSION}".encode())
    digest.update(json.dumps(without_names(model.get_config()), sort_keys=True).encode())
    hash_arrays(digest, [*model.get_weights(), images])
    return digest.hexdigest()


def without_names(config, names: dict[str, str] | None = None):
    """Replace layer names in a configuration by positions: Keras numbers unnamed layers through a session."""
    names = names or {}
    if isinstance(config, dict):
        if isinstance(config.get("layers"), list):
            positions = {layer["config"]["name"]: f"layer {i}" for i, layer in enumerate(config["layers"])}
            names = names | positions | {config["name"]: "model"}
        kept = {key: value for key, value in config.items() if key not in IRRELEVANT}
        if kept.get("name") in names:
            kept["name"] = names[kept["name"]]
        return {key: without_names(value, names) for key, value in kept.items()}
    if isinstance(config, (list, tuple)):
        # A reference to a layer's output is a list of name, call and tensor number.
        is_reference = len(config) == 3 and isinstance(config[0], str) and isinstance(config[1], int)
        head = [names.get(config[0], config[0])] if is_reference else []
        return head + [without_names(value, names) for value in config[len(head) :]]
    return config
