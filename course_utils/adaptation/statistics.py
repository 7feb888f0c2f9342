"""AdaBN: the statistics of BatchNormalization, taken from the domain where the model will work."""

import keras
import numpy as np

from course_utils.errors import CourseError, whole_number


def adapt_batch_norm(model: keras.Model, inputs: np.ndarray, batch_size: int = 250) -> None:
    """Replace the moving statistics of BatchNormalization by those of unlabelled inputs; weights stay.

    Batch k (from 0) enters with momentum k / (k + 1), which makes the moving mean the plain mean over batches.

    Parameters
    ----------
    model : keras.Model
        Its BatchNormalization layers, of nested models too, are changed in place.
    inputs : ndarray
        Inputs of the target in random order, for each batch is to be like all; no labels are needed.
    batch_size : int
        Inputs at a time; a last batch of less is left out.

    Raises
    ------
    CourseError
        If the model has no such layer, one is frozen, or there are fewer inputs than one batch.

    References
    ----------
    Li, Wang, Shi, Liu & Hou (2016), https://arxiv.org/abs/1603.04779
    """
    batch_size = whole_number("batch_size", batch_size)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        raise CourseError("The model has no BatchNormalization layer, so there are no statistics to adapt.")
    if frozen := [norm.name for norm in norms if not norm.trainable]:
        raise CourseError(
            f"The layer {frozen[0]!r} is frozen, and would keep its statistics; set its `trainable` first."
        )
    if len(inputs) < batch_size:
        raise CourseError(f"There are {len(inputs)} inputs for batches of {batch_size}; give more, or smaller batches.")
    usual = [norm.momentum for norm in norms]
    try:
        for number in range(len(inputs) // batch_size):
            for norm in norms:
                norm.momentum = number / (number + 1)
            model(inputs[number * batch_size : (number + 1) * batch_size], training=True)
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
