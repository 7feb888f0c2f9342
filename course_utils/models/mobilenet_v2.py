"""MobileNetV2 as PyTorch computes it; `keras.applications.MobileNetV2` pads and normalises otherwise.

References
----------
Sandler, Howard, Zhu, Zhmoginov and Chen (2018), "MobileNetV2: Inverted residuals and linear bottlenecks",
CVPR, https://arxiv.org/abs/1801.04381
"""

from pathlib import Path

import keras
from keras import layers

from course_utils.models.checkpoint import read_torch_checkpoint
from course_utils.models.inverted_residual import (
    BlockPlan,
    Convention,
    convolution_unit,
    inverted_residual,
    load_torch_weights,
    plan_blocks,
)

TORCH = Convention(epsilon=1e-5, symmetric_padding=True)

# Mean and standard deviation of the ImageNet pixels scaled to [0, 1]: red, green, blue
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# repeats, kernel size, strides, expansion, filters
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (3, 3, 2, 6, 32),
    (4, 3, 2, 6, 64),
    (3, 3, 1, 6, 96),
    (3, 3, 2, 6, 160),
    (1, 3, 1, 6, 320),
]


def build_mobilenet_v2(input_size: int, checkpoint: Path | None = None) -> keras.Model:
    """Build MobileNetV2 up to its pooled features; the carried weights have no ImageNet head.

    Parameters
    ----------
    input_size : int
        Height and width of the images, in pixels.
    checkpoint : Path, optional
        Weights in PyTorch's legacy format; random weights without.

    Returns
    -------
    keras.Model
        Flat model from raw pixels 0-255 (n, size, size, 3) to features (n, 1280).
    """
    plans = plan_blocks(STAGES)
    inputs = keras.Input((input_size, input_size, 3), name="pixels")
    # (x / 255 - mean) / std, written as one scale and one offset for each colour
    scales = [1 / (255 * std) for std in IMAGENET_STD]
    offsets = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=False)]
    x = layers.Rescaling(scales, offsets, name="preprocessing")(inputs)
    x = convolution_unit(x, "stem", 32, TORCH, kernel_size=3, strides=2)
    for plan in plans:
        x = inverted_residual(x, plan, TORCH)
    x = convolution_unit(x, "top", 1280, TORCH)
    outputs = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, outputs, name="MobileNetV2Torch")
    if checkpoint is not None:
        load_torch_weights(model, read_torch_checkpoint(checkpoint), torch_layer_names(plans))
    return model


def torch_layer_names(plans: list[BlockPlan]) -> dict[str, str]:
    """Map the module names of the PyTorch checkpoint to the layers of the Keras model."""
    top = f"features.{len(plans) + 1}"
    names = {
        "features.0.0": "stem_conv",
        "features.0.1": "stem_norm",
        f"{top}.0": "top_conv",
        f"{top}.1": "top_norm",
    }
    for i, plan in enumerate(plans, start=1):
        steps = ("expand", "depthwise", "project") if plan.expansion > 1 else ("depthwise", "project")
        for j, step in enumerate(steps):
            # Each step is a convolution, a normalisation and an activation, numbered through.
            names[f"features.{i}.conv.{3 * j}"] = f"{plan.name}_{step}_conv"
            names[f"features.{i}.conv.{3 * j + 1}"] = f"{plan.name}_{step}_norm"
    return names
