"""What a network costs: weights, arithmetic and time.

References
----------
Sze, Chen, Yang and Emer (2017), "Efficient processing of deep neural networks: a tutorial and survey",
Proceedings of the IEEE 105, https://arxiv.org/abs/1703.09039
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from course_utils.errors import CourseError, whole_number

COUNTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)
# In the names of layers and functions of Keras that multiply without a kernel, or may do so.
UNCOUNTED = re.compile("Attention|Conv|[Dd]ot|Einsum|Inner|Lambda|Matmul|Outer")


@dataclass(frozen=True)
class Cost:
    """What a pass through a network costs."""

    parameters: int
    flops: int  # multiplications and additions for one image, see `count_flops`
    latency: float  # median seconds of an image alone
    batch_latency: float  # median seconds of an image in a batch


def measure_cost(model: keras.Model, batch_size: int = 32, repeats: int = 20) -> Cost:
    """Count and measure what a network costs on this machine, with random images.

    Parameters
    ----------
    model : keras.Model
        Flat functional model from images of one size; folded, if it is to be as fast as it can.
    batch_size : int
        Images in a batch.
    repeats : int
        Timed passes of an image alone; a quarter as many of a batch.
    """
    batch_size, repeats = whole_number("batch_size", batch_size), whole_number("repeats", repeats)
    return Cost(
        parameters=model.count_params(),
        flops=count_flops(model),
        latency=median_seconds(compiled_pass(model, 1), repeats),
        batch_latency=median_seconds(compiled_pass(model, batch_size), max(1, repeats // 4)) / batch_size,
    )


def count_flops(model: keras.Model) -> int:
    """Return the multiplications and additions for one image.

    Every weight of a kernel is multiplied and added once at every position of the output. Normalisation,
    activations and sums are left out: they are a small part, and normalisation can be folded away.

    Raises
    ------
    CourseError
        If the model is not functional, has no fixed size, or holds a layer that this rule does not cover.
    """
    return 2 * sum(multiplications(node.operation, node.output_tensors[0].shape) for node in calls_in_order(model))


def multiplications(layer: keras.Operation, output_shape: tuple[int | None, ...]) -> int:
    """Return the multiplications of one call of a layer or function, for one image."""
    if isinstance(layer, keras.Model):
        return count_flops(layer) // 2
    kernels = [weight.shape for weight in getattr(layer, "weights", ()) if len(weight.shape) > 1]
    if not kernels and not UNCOUNTED.search(type(layer).__name__):
        return 0
    if not isinstance(layer, COUNTED):
        raise CourseError(f"There is no rule to count the operations of {layer.name}, a {type(layer).__name__}.")
    places = output_shape[2:] if getattr(layer, "data_format", "") == "channels_first" else output_shape[1:-1]
    return math.prod(places) * sum(map(math.prod, kernels))


def calls_in_order(model: keras.Model) -> list:
    """Return the layer calls of a functional model of one fixed size, in the order in which they run."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    # Keras has no public list of a model's layer calls; these nodes are what its own cloning walks through.
    by_depth = getattr(model, "_nodes_by_depth", None)
    if by_depth is None:
        raise CourseError(f"{type(model).__name__} {model.name!r} is no functional model: build it as keras.Model.")
    for shape in (tensor.shape[1:] for tensor in model.inputs):
        if None in shape:
            raise CourseError(f"The model takes images of shape {shape}: build it at one fixed size.")
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def compiled_pass(model: keras.Model, batch_size: int) -> Callable[[], tf.Tensor]:
    """Return a function without arguments that runs the model on one random batch, as a graph; it has run once."""
    graph = tf.function(lambda batch: model(batch, training=False), autograph=False)
    images = np.random.default_rng(0).uniform(0, 255, (batch_size, *model.input_shape[1:]))
    batch = tf.constant(images, tf.float32)
    graph(batch)
    return lambda: graph(batch)


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call; one call before warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
