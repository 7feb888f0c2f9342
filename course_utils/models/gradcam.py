"""Grad-CAM: which places of an image moved a network's score.

References
----------
Selvaraju, Cogswell, Das, Vedantam, Parikh & Batra (2017), "Grad-CAM: Visual explanations from deep networks via
gradient-based localization", ICCV, https://arxiv.org/abs/1610.02391
"""

import keras
import numpy as np
import tensorflow as tf

from course_utils.errors import CourseError, whole_number


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
        If there is no such layer, its activations have no places, there is more than one score, or for bad images.
    """
    batch_size = whole_number("batch_size", batch_size)
    if not getattr(model, "outputs", None):  # of a Sequential, there is no `output` before it was called
        raise CourseError(f"{model.name} is no functional model, or not built: begin it with keras.Input.")
    activations, score = find_activations(model, layer), model.outputs[0]
    if score.shape[1:] != (1,):
        raise CourseError(f"{model.name} gives the shape {score.shape}; Grad-CAM here explains one score.")
    accepted, given = model.inputs[0].shape, np.shape(images)
    fits = len(given) == len(accepted) and all(a in (None, b) for a, b in zip(accepted, given, strict=True))
    if not fits or len(images) == 0:
        raise CourseError(f"The images have the shape {given}; accepted are one or more of {accepted}.")
    network = keras.Model(model.inputs, [activations, score])
    parts = np.array_split(images, range(batch_size, len(images), batch_size))
    maps = np.concatenate([weighted_maps(network, tf.cast(part, tf.float32), layer).numpy() for part in parts])
    if not np.isfinite(maps).all():
        raise CourseError("The maps hold NaN or infinite values: look for such in the images.")
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def find_activations(model: keras.Model, layer: str) -> keras.KerasTensor:
    """Return the output of a layer that keeps places."""
    spatial = [each.name for each in model.layers if len(getattr(getattr(each, "output", None), "shape", ())) == 4]
    for each in model.layers:
        if isinstance(each, keras.Model) and _hides(each, layer):
            raise CourseError(
                f"{layer!r} belongs to {each.name}, a network inside of {model.name}: build the model from "
                f"{each.name}.input and {each.name}.output, then its layers can be explained."
            )
    if layer not in spatial:
        raise CourseError(
            f"{model.name} has no layer {layer!r} with activations of shape (n, h, w, c); "
            f"there are {', '.join(spatial[-3:]) or 'none'}{' and others' if len(spatial) > 3 else ''}."
        )
    return model.get_layer(layer).output


def _hides(network: keras.Model, layer: str) -> bool:
    """Tell whether the activations of a layer are out of reach, as it belongs to a network inside of another.

    Those of the whole network, too: its ``output`` belongs to its own input; only a Sequential has that of its call.
    """
    is_inside = layer in [part.name for part in network.layers]
    is_whole = layer == network.name and not isinstance(network, keras.Sequential)
    return is_inside or is_whole


def weighted_maps(network: keras.Model, batch: tf.Tensor, layer: str) -> tf.Tensor:
    """Return the channels weighted by their mean gradient, summed, without what is negative."""
    with tf.GradientTape() as tape:
        tape.watch(batch)  # by itself the tape follows only what comes after the first weights
        activations, score = network(batch, training=False)
    gradient = tape.gradient(score, activations)
    if gradient is None:
        raise CourseError(f"The score does not depend on {layer!r}, as this model calls it: build the model anew.")
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))
