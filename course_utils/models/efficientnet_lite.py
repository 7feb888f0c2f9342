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

from course_utils.models.inverted_residual import Convention, Stage, build_network

TENSORFLOW = Convention(epsilon=1e-3, symmetric_padding=False)

# variant -> (width, depth): how much wider and deeper than Lite0
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

STAGES = [
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
]


def build_efficientnet_lite(variant: int, input_size: int, checkpoint: Path | None = None) -> keras.Model:
    """Build EfficientNet-Lite0, 1 or 2 with its ImageNet head; see `build_network`.

    Returns a flat model from raw pixels 0-255 (n, size, size, 3) to 1000 probabilities; the layer ``pool`` gives
    1280 features.
    """
    preprocessing = layers.Rescaling(scale=1 / 128, offset=-127 / 128, name="preprocessing")
    name = f"EfficientNetLite{variant}"
    return build_network(name, input_size, checkpoint, preprocessing, scaled_stages(variant), TENSORFLOW, has_head=True)


def scaled_stages(variant: int) -> list[Stage]:
    """Return the stages of a variant: wider by its width, longer by its depth (but for the first and the last)."""
    width, depth = SCALES[variant]
    return [
        stage._replace(
            repeats=stage.repeats if stage in (STAGES[0], STAGES[-1]) else math.ceil(depth * stage.repeats),
            filters=scaled_filters(stage.filters, width),
        )
        for stage in STAGES
    ]


def scaled_filters(filters: int, width: float) -> int:
    """Multiply a number of filters by `width`, to the nearest multiple of 8 that loses at most a tenth."""
    nearest = max(8, int(filters * width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters * width else nearest
