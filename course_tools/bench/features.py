"""Features of the frozen EfficientNet-Lite0: the folded graph of the course, Keras' `predict`, and PyTorch."""

import numpy as np
import tensorflow as tf

from course_tools.bench.peer import time_beside
from course_tools.bench.rounds import clocked, limit_threads
from course_tools.bench.table import Row, limit, versus
from course_utils.data import fetch, load_imagenet_photos
from course_utils.models.features import folded_graph
from course_utils.zoo import load_backbone
from course_utils.zoo.cost import count_flops

SIZES = (224, 128)  # pixels
IMAGES = {"smoke": 32, "default": 128, "full": 512}  # whole batches
BATCH = 32
SIDE = 2048  # of the square matrices whose product gives the machine's peak
TOLERANCE = 1e-4
TORCH = ("torch", "torch folded")
PEERS = ("keras predict", *TORCH)
GIGA = 1e9


def measure(profile: str) -> list[Row]:
    """Return the lines of all image sizes."""
    limit_threads()
    return [row for size in SIZES for row in measure_size(size, profile)]


def measure_size(size: int, profile: str) -> list[Row]:
    """Return the lines of one image size, in pixels."""
    photos, model = (load_imagenet_photos(size).x, load_backbone("EfficientNetLite0", input_size=size))
    images = np.resize(photos, (IMAGES[profile], *photos.shape[1:]))  # the twenty photos, again and again
    square = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    own, checkpoint = own_contenders(model, images, square), np.array(str(fetch("efficientnet_lite0")))
    arrays = {"images": images, "square": square, "checkpoint": checkpoint}
    results, seconds = time_beside(own, profile, "torch_features.py", [*TORCH, "torch matmul"], **arrays)
    return size_rows(size, len(images), count_flops(model), results, seconds)


def own_contenders(model, images, square):
    """Return what runs in this process: the course's way, Keras' own, and products of large matrices."""
    run = folded_graph(model, tf.TensorSpec((BATCH, *images.shape[1:]), images.dtype))
    starts, tensor = range(0, len(images), BATCH), tf.constant(square)
    return {
        "ours": clocked(lambda: np.concatenate([run(images[i : i + BATCH]).numpy() for i in starts])),
        "keras predict": clocked(lambda: model.predict(images, batch_size=BATCH, verbose=0)),
        "tensorflow matmul": clocked(lambda: (tensor @ tensor).numpy()[:1]),
        "numpy matmul": clocked(lambda: (square @ square)[:1]),
    }


def size_rows(size, images, flops, results, seconds):
    """Return the lines: ours beside each peer, each one's share of the peak, and whether all are equal."""
    rates = {name: [images / s for s in seconds[name]] for name in ("ours", *PEERS) if name in seconds}
    products = [times for name, times in seconds.items() if name.endswith("matmul")]
    peak = [2 * SIDE**3 / GIGA / min(times) for times in zip(*products, strict=True)]
    rows = []
    for name in list(rates)[1:]:
        goal = 2 if name in TORCH else None
        rows.append(versus(f"features, {size} px", "images/s", rates["ours"], name, rates[name], goal))
    for name, rate in rates.items():
        arithmetic, goal = [flops / GIGA * r for r in rate], 0.5 if name == "ours" else None
        rows.append(versus(f"arithmetic, {size} px: {name}", "GFLOP/s", arithmetic, "peak of matmul", peak, goal))
    for name in list(rates)[1:]:
        difference = np.abs(results["ours"] - results[name]).max()
        rows.append(limit(f"features, {size} px: largest difference from {name}", "", difference, TOLERANCE, True))
    return rows
