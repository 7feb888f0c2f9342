"""Checkpoints, features, operations, maps and fast gradients, beside PyTorch and captum."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from course_tools.agreement.table import Agreement, beside
from course_utils.data import fetch, load_imagenet_photos
from course_utils.models import fold_batch_norm, for_cpu_training, grad_cam
from course_utils.models.checkpoint import read_torch_checkpoint
from course_utils.zoo import BACKBONES, load_backbone
from course_utils.zoo.cost import count_flops

PHOTOS, SIZE = 6, 128  # pixels
FEATURES, FLOAT32 = 1e-4, 1e-6  # of numbers around 1 after some fifty layers, and of gradients after one
BLOCK, LAYER = 10, "block5c_add"  # the same place in the middle of both networks, from 0 and by name
CHANNELS = 6


def measure() -> list[Agreement]:
    """Return the lines."""
    variants = [BACKBONES[f"EfficientNetLite{variant}"] for variant in range(3)]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "checkpoints": [str(fetch(variant.asset)) for variant in variants],
            "sizes": [variant.input_size for variant in variants],
            "zip": str(Path(folder) / "saved.pt"),
            "images": load_imagenet_photos(SIZE).x[:PHOTOS],
            "block": BLOCK,
            "head": random.normal(size=1280),
            "x": random.normal(size=(2, 9, 8, CHANNELS)),
        }
        given |= {name: random.normal(size=(k, k, CHANNELS, 1)) for name, k in {"three": 3, "five": 5}.items()}
        given["pointwise"] = random.normal(size=(1, 1, CHANNELS, 4))
        given = {
            name: np.float32(value) if np.asarray(value).dtype == float else value for name, value in given.items()
        }
        return beside("agree_networks.py", given, rows(given))


def rows(given: dict) -> list[tuple]:
    """Return what the course computes; the zip file is written by the peer before it is read."""
    backbone = load_backbone(input_size=SIZE)
    score = keras.layers.Dense(1, use_bias=False)
    scored = keras.Model(backbone.input, score(backbone.output))
    score.set_weights([given["head"][:, None]])
    folded = fold_batch_norm(backbone)
    return [
        ("checkpoint, legacy", "torch", "legacy", 0, flat(given["checkpoints"][0])),
        ("checkpoint, zip", "torch", "zip", 0, lambda: flat(given["zip"])),
        ("features, folded", "torch", "features", FEATURES, folded.predict(given["images"], verbose=0)),
        ("operations of three networks", "torch, flop_counter", "operations", 0, operations()),
        ("Grad-CAM", "captum", "maps", FEATURES, grad_cam(scored, given["images"], LAYER)),
        ("gradients, 1 x 1 convolution", "torch", "pointwise", FLOAT32, gradients(given, "pointwise")),
        ("gradients, depthwise 3 x 3", "torch", "three", FLOAT32, gradients(given, "three")),
        ("gradients, depthwise 5 x 5", "torch", "five", FLOAT32, gradients(given, "five")),
    ]


def flat(checkpoint: str) -> np.ndarray:
    """Return all values of a checkpoint, name after name."""
    return np.concatenate([tensor.astype(float).ravel() for tensor in read_torch_checkpoint(checkpoint).values()])


def operations() -> list[int]:
    """Return the multiplications and additions of EfficientNet-Lite0 to 2, with their heads."""
    return [count_flops(load_backbone(f"EfficientNetLite{i}", weights=None, include_top=True)) for i in range(3)]


def gradients(given: dict, kernel: str) -> np.ndarray:
    """Return the gradients of the mean square of a convolution made for training on CPUs."""
    if kernel == "pointwise":
        layer = keras.layers.Conv2D(given[kernel].shape[-1], 1, use_bias=False)
    else:
        layer = keras.layers.DepthwiseConv2D(len(given[kernel]), padding="same", use_bias=False)
    inputs = keras.Input(given["x"].shape[1:])
    model = for_cpu_training(keras.Model(inputs, layer(inputs)))
    model.set_weights([given[kernel]])
    x = tf.constant(given["x"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_mean(model(x) ** 2)
    found = tape.gradient(loss, [x, model.trainable_weights[0].value])
    return np.concatenate([np.ravel(each) for each in found])
