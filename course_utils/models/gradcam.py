"""Grad-CAM: which places of an image moved a network's score.

References
----------
Selvaraju, Cogswell, Das, Vedantam, Parikh & Batra (2017), "Grad-CAM: Visual explanations from deep networks via
gradient-based localization", ICCV, https://arxiv.org/abs/1610.02391
"""

import keras
import numpy as np
import tensorflow as tf

from course_utils.errors import CourseError


def grad_cam(model: keras.Model, images: np.ndarray, layer: str, batch_size: int = 64) -> np.ndarray:
    """Return for each image a map of the places whose activation raises the score.

    The channels of a layer are averaged with weights: the mean gradient of the score for each channel. What
    lowers the score is cut off at 0, and each map is divided by its largest value.

    Parameters
    ----------
    model : keras.Model
        Functional model from images to one score each, shape (n, 1): the logit, not the probability, because
        the gradient vanishes where a sigmoid saturates.
    images : ndarray of shape (n, height, width, channels)
        As the model takes them.
    layer : str
        Name of a layer of `model` with activations of shape (n, h, w, c).
    batch_size : int
        Images computed at a time.

    Returns
    -------
    ndarray of float32, shape (n, h, w)
        From 0 to 1; all 0 where nothing raises the score.

    Raises
    ------
    CourseError
        If there is no such layer, its activations have no places, or the model gives more than one score.
    """
    activations = find_activations(model, layer)
    if model.output.shape[1:] != (1,):
        raise CourseError(f"{model.name} gives the shape {model.output.shape}; Grad-CAM here explains one score.")
    network = keras.Model(model.input, [activations, model.output])
    parts = np.array_split(images, range(batch_size, len(images), batch_size))
    maps = np.concatenate([weighted_maps(network, tf.cast(part, tf.float32)).numpy() for part in parts])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def find_activations(model: keras.Model, layer: str) -> keras.KerasTensor:
    """Return the output of a layer that keeps places."""
    spatial = [each.name for each in model.layers if len(getattr(each.output, "shape", ())) == 4]
    if layer not in spatial:
        raise CourseError(
            f"{model.name} has no layer {layer!r} with activations of shape (n, h, w, c); "
            f"there are {', '.join(spatial[-3:]) or 'none'}{' and others' if len(spatial) > 3 else ''}."
        )
    return model.get_layer(layer).output


def weighted_maps(network: keras.Model, batch: tf.Tensor) -> tf.Tensor:
    """Return the channels weighted by their mean gradient, summed, without what is negative."""
    with tf.GradientTape() as tape:
        tape.watch(batch)  # by itself the tape follows only what comes after the first weights
        activations, score = network(batch, training=False)
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))
