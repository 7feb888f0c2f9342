"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and swish, made for small devices.

References
----------
Tan and Le (2019), "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML,
https://arxiv.org/abs/1905.11946
Liu (2020), "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog,
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html
"""

import math
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

TENSORFLOW = Convention(epsilon=1e-3, symmetric_padding=False)

# variant -> (width, depth): how much wider and deeper than Lite0
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

# repeats, kernel size, strides, expansion, filters
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


def build_efficientnet_lite(variant: int, input_size: int, checkpoint: Path | None = None) -> keras.Model:
    """Build EfficientNet-Lite with its ImageNet head.

    Parameters
    ----------
    variant : {0, 1, 2}
        Lite0, Lite1 or Lite2.
    input_size : int
        Height and width of the images, in pixels.
    checkpoint : Path, optional
        Weights in PyTorch's legacy format; random weights without.

    Returns
    -------
    keras.Model
        Flat model from raw pixels 0-255 (n, size, size, 3) to 1000 probabilities; the layer ``pool``
        gives 1280 features.
    """
    plans = scaled_blocks(variant)
    inputs = keras.Input((input_size, input_size, 3), name="pixels")
    x = layers.Rescaling(scale=1 / 128, offset=-127 / 128, name="preprocessing")(inputs)
    x = convolution_unit(x, "stem", 32, TENSORFLOW, kernel_size=3, strides=2)
    for plan in plans:
        x = inverted_residual(x, plan, TENSORFLOW)
    x = convolution_unit(x, "top", 1280, TENSORFLOW)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, outputs, name=f"EfficientNetLite{variant}")
    if checkpoint is not None:
        load_torch_weights(model, read_torch_checkpoint(checkpoint), torch_layer_names(plans))
    return model


def scaled_blocks(variant: int) -> list[BlockPlan]:
    """Return the blocks of a variant: wider by its width, more by its depth (but for first and last stage)."""
    width, depth = SCALES[variant]
    last = len(STAGES) - 1
    stages = []
    for i, (repeats, kernel_size, strides, expansion, filters) in enumerate(STAGES):
        repeats = repeats if i in (0, last) else math.ceil(depth * repeats)
        stages.append((repeats, kernel_size, strides, expansion, scale(filters, width)))
    return plan_blocks(stages)


def scale(filters: int, width: float) -> int:
    """Multiply a number of filters by `width`, to the nearest multiple of 8 that loses at most a tenth."""
    nearest = max(8, int(filters * width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters * width else nearest


def torch_layer_names(plans: list[BlockPlan]) -> dict[str, str]:
    """Map the module names of the PyTorch checkpoint to the layers of the Keras model."""
    names = {
        "_conv_stem": "stem_conv",
        "_bn0": "stem_norm",
        "_conv_head": "top_conv",
        "_bn1": "top_norm",
    }
    for i, plan in enumerate(plans):
        for j, step in enumerate(("expand", "depthwise", "project")):
            if step != "expand" or plan.expansion > 1:
                names[f"_blocks.{i}._{step}_conv"] = f"{plan.name}_{step}_conv"
                names[f"_blocks.{i}._bn{j}"] = f"{plan.name}_{step}_norm"
    return names | {"_fc": "predictions"}
