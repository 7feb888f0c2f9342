"""What a network costs: weights, arithmetic, time and memory.

References
----------
Sze, Chen, Yang and Emer (2017), "Efficient processing of deep neural networks: a tutorial and survey",
Proceedings of the IEEE 105, https://arxiv.org/abs/1703.09039
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import psutil
import tensorflow as tf
from keras import layers

from course_utils.settings import CourseError

COUNTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)
BYTES_OF_FLOAT = 4
MEGABYTE = 1e6
SAMPLING_SECONDS = 0.001


@dataclass(frozen=True)
class Cost:
    """What a pass through a network costs.

    Attributes
    ----------
    parameters : int
        Number of weights.
    flops : int
        Multiplications and additions for one picture, see `count_flops`.
    latency : float
        Median time of a picture alone, in seconds.
    batch_latency : float
        Median time of a picture in a batch, in seconds.
    counted_memory, measured_memory : float
        Working memory of a batch, without the weights, in megabytes (10**6 bytes): see `count_memory` and
        `peak_memory`.
    """

    parameters: int
    flops: int
    latency: float
    batch_latency: float
    counted_memory: float
    measured_memory: float


def measure_cost(model: keras.Model, batch_size: int = 32, repeats: int = 20) -> Cost:
    """Count and measure what a network costs on this machine, with random pictures.

    Parameters
    ----------
    model : keras.Model
        Flat functional model from pictures of one size; folded, if it is to be as fast as it can.
    batch_size : int
        Pictures in a batch.
    repeats : int
        Timed passes of a picture alone; a quarter as many of a batch.

    Returns
    -------
    Cost
    """
    batch_of = compiled_pass(model, batch_size)
    return Cost(
        parameters=model.count_params(),
        flops=count_flops(model),
        latency=median_seconds(compiled_pass(model, 1), repeats),
        batch_latency=median_seconds(batch_of, max(1, repeats // 4)) / batch_size,
        counted_memory=count_memory(model, batch_size),
        measured_memory=float(np.median([peak_memory(batch_of) for _ in range(3)])),
    )


def count_flops(model: keras.Model) -> int:
    """Return the multiplications and additions for one picture.

    Every weight of a kernel is multiplied and added once at every position of the output. Normalisation,
    activations and sums are left out: they are a small part, and normalisation can be folded away.

    Raises
    ------
    CourseError
        If the model is not functional, has no fixed size, or holds a layer that this rule does not cover.
    """
    return 2 * sum(
        multiplications(node.operation, node.output_tensors[0].shape) for node in calls_in_order(model)
    )


def multiplications(layer: keras.Layer, output_shape: tuple[int | None, ...]) -> int:
    """Return the multiplications of one call of a layer, for one picture."""
    kernels = [weight.shape for weight in layer.weights if len(weight.shape) > 1]
    if not kernels:
        return 0
    if not isinstance(layer, COUNTED):
        raise CourseError(
            f"There is no rule to count the operations of {layer.name}, a {type(layer).__name__}."
        )
    return math.prod(output_shape[1:-1]) * sum(map(math.prod, kernels))


def count_memory(model: keras.Model, batch_size: int) -> float:
    """Return the largest sum of arrays that must exist at once during a pass, in megabytes.

    An array is needed until its last reader has run. A layer without weights that keeps the shape works in
    place. Weights are not counted.
    """
    calls = calls_in_order(model)
    last_reader = {id(array): step for step, call in enumerate(calls) for array in call.input_tensors}
    last_reader |= {id(array): len(calls) for array in model.outputs}
    alive, peak = {}, 0
    for step, call in enumerate(calls):
        output, source = call.output_tensors[0], (call.input_tensors or [None])[0]
        in_place = source is not None and not call.operation.weights and source.shape == output.shape
        if in_place and last_reader[id(source)] == step:
            del alive[id(source)]
        alive[id(output)] = BYTES_OF_FLOAT * batch_size * math.prod(output.shape[1:])
        peak = max(peak, sum(alive.values()))
        alive = {array: size for array, size in alive.items() if last_reader.get(array, step) > step}
    return peak / MEGABYTE


def calls_in_order(model: keras.Model) -> list:
    """Return the layer calls of a functional model of one fixed size, in the order in which they run."""
    # Keras has no public list of a model's layer calls; these nodes are what its own cloning walks through.
    by_depth = getattr(model, "_nodes_by_depth", None)
    if by_depth is None:
        raise CourseError(
            f"{type(model).__name__} {model.name!r} is no functional model: build it as keras.Model."
        )
    if None in model.input_shape[1:]:
        raise CourseError(
            f"The model takes pictures of shape {model.input_shape[1:]}: build it at one fixed size."
        )
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def compiled_pass(model: keras.Model, batch_size: int) -> Callable[[], tf.Tensor]:
    """Return a function without arguments that runs the model on one random batch, as a graph; it has run once."""
    graph = tf.function(lambda batch: model(batch, training=False), autograph=False)
    pictures = np.random.default_rng(0).uniform(0, 255, (batch_size, *model.input_shape[1:]))
    batch = tf.constant(pictures, tf.float32)
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


def peak_memory(run: Callable[[], object]) -> float:
    """Return by how much the resident memory of this process grows at most during a call, in megabytes.

    Arrays below some 30 megabytes may reuse memory that the process holds already, so take a large batch.
    """
    process, finished, seen = psutil.Process(), threading.Event(), []

    def watch():
        while not finished.is_set():
            seen.append(process.memory_info().rss)
            finished.wait(SAMPLING_SECONDS)

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        finished.set()
        watcher.join()
    return (max([before, *seen]) - before) / MEGABYTE
