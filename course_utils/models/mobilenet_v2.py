"""MobileNetV2 as PyTorch computes it; `keras.applications.MobileNetV2` pads and normalises otherwise.

References
----------
Sandler, Howard, Zhu, Zhmoginov and Chen (2018), "MobileNetV2: Inverted residuals and linear bottlenecks",
CVPR, https://arxiv.org/abs/1801.04381
"""

from pathlib import Path

import keras
from keras import layers

from course_utils.models.inverted_residual import Convention, Stage, build_network

TORCH = Convention(epsilon=1e-5, symmetric_padding=True)

# Mean and standard deviation of the ImageNet pixels scaled to [0, 1]: red, green, blue
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STAGES = [
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
]


def build_mobilenet_v2(input_size: int, checkpoint: Path | None = None) -> keras.Model:
    """Build MobileNetV2 up to its pooled features; the carried weights have no ImageNet head.

    Returns a flat model from raw pixels 0-255 (n, size, size, 3) to features (n, 1280); see `build_network`.
    """
    # (x / 255 - mean) / std, written as one scale and one offset for each colour
    scales = [1 / (255 * std) for std in IMAGENET_STD]
    offsets = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    preprocessing = layers.Rescaling(scales, offsets, name="preprocessing")
    return build_network("MobileNetV2Torch", input_size, checkpoint, preprocessing, STAGES, TORCH, has_head=False)
