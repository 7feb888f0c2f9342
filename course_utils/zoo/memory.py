"""The working memory of a pass: counted from the shapes of the arrays, and measured in a process of its own.

Run as a module with a saved model and a batch size, this file makes the measurement and prints it.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import psutil
import tensorflow as tf

from course_utils.errors import CourseError, whole_number
from course_utils.settings import ROOT
from course_utils.zoo.cost import calls_in_order

BYTES_OF_FLOAT = 4
MEGABYTE = 1e6
SAMPLING_SECONDS = 0.001


def count_memory(model: keras.Model, batch_size: int) -> float:
    """Return the largest sum of arrays that must exist at once during a pass, in megabytes.

    An array is needed until its last reader has run. A layer without weights that keeps the shape works in
    place. Weights are not counted; of a model within the model only the output is.
    """
    batch_size = whole_number("batch_size", batch_size)
    calls = calls_in_order(model)
    last_reader = {id(array): step for step, call in enumerate(calls) for array in call.input_tensors}
    last_reader |= {id(array): len(calls) for array in model.outputs}
    alive, peak = {}, 0
    for step, call in enumerate(calls):
        output, source = call.output_tensors[0], (call.input_tensors or [None])[0]
        weights = getattr(call.operation, "weights", ())  # a function such as `keras.ops.add` has none
        in_place = source is not None and not weights and source.shape == output.shape
        if in_place and last_reader[id(source)] == step:
            del alive[id(source)]
        alive[id(output)] = BYTES_OF_FLOAT * batch_size * math.prod(output.shape[1:])
        peak = max(peak, sum(alive.values()))
        alive = {array: size for array, size in alive.items() if last_reader.get(array, step) > step}
    return peak / MEGABYTE


def measure_memory(model: keras.Model, batch_size: int) -> float:
    """Return by how much a fresh process grows at most during its first pass over a batch, in megabytes.

    A process that has computed before has memory left over, and its later passes use that. So the model is saved,
    and a new process loads it, runs one image to build the graph, and then the batch. It computes on the CPU.

    Parameters
    ----------
    model : keras.Model
        Flat functional model from images of one size, without custom layers but those of `course_utils.models`.
    batch_size : int
        Images in the batch.

    Raises
    ------
    CourseError
        If the model is not functional or has no fixed size, or if the new process fails.
    """
    batch_size = whole_number("batch_size", batch_size)
    calls_in_order(model)  # refuses what has no fixed size before a process is started
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        finished = subprocess.run(
            [sys.executable, "-m", __name__, str(path), str(batch_size)],
            cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if finished.returncode:
        errors = re.findall(r"^\S+Error: .+", finished.stderr, re.MULTILINE)
        reason = errors[-1] if errors else f"exit code {finished.returncode}, perhaps for want of memory"
        raise CourseError(f"A fresh process could not run {model.name} on {batch_size} images: {reason}")
    return float(finished.stdout.split()[-1])


def growth_in_first_pass(path: str, batch_size: int) -> float:
    """Load a saved model and return `peak_memory` of its first pass over a batch of random images."""
    model = keras.saving.load_model(path, compile=False)
    shape = model.input_shape[1:]
    signature = [tf.TensorSpec((None, *shape), tf.float32)]  # one graph for the image and for the batch
    graph = tf.function(lambda batch: model(batch, training=False), input_signature=signature, autograph=False)
    graph(tf.zeros((1, *shape)))
    batch = tf.constant(np.random.default_rng(0).uniform(0, 255, (batch_size, *shape)), tf.float32)
    return peak_memory(lambda: graph(batch))


def peak_memory(run: Callable[[], object]) -> float:
    """Return by how much the resident memory of this process grows at most during a call, in megabytes.

    Arrays may take memory that the process holds already and then show no growth: see `measure_memory`.
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


if __name__ == "__main__":
    print(growth_in_first_pass(sys.argv[1], int(sys.argv[2])))
