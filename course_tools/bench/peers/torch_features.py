"""EfficientNet-Lite in PyTorch, written from the paper for the names of the published checkpoint.

References
----------
Tan and Le (2019), "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML,
https://arxiv.org/abs/1905.11946
"""

import copy
import math
import sys
from pathlib import Path

import numpy as np
import torch
from serving import serve
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH = 32
# repeats, kernel size, stride, expansion, filters
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


SCALES = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2)]  # width and depth of Lite0, Lite1, Lite2


def scaled(filters, width):
    """Return a multiple of 8 near the scaled number of filters, and not below 90% of it."""
    nearest = max(8, int(filters * width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters * width else nearest + 8


class Convolution(nn.Conv2d):
    """A convolution that pads as TensorFlow does: the odd pixel of a stride goes to the bottom and the right."""

    def forward(self, x):
        (kernel, _), (stride, _), size = self.kernel_size, self.stride, x.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        if before != after:
            x, before = functional.pad(x, (before, after, before, after)), 0
        return functional.conv2d(x, self.weight, self.bias, stride, before, groups=self.groups)


def normalization(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """The inverted residual: widen, filter each channel apart, narrow."""

    def __init__(self, channels, filters, kernel, stride, expansion):
        super().__init__()
        wide = channels * expansion
        self.widens, self.adds = expansion > 1, stride == 1 and channels == filters
        if self.widens:
            self._expand_conv, self._bn0 = (Convolution(channels, wide, 1, bias=False), normalization(wide))
        self._depthwise_conv = Convolution(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = normalization(wide)
        self._project_conv, self._bn2 = (Convolution(wide, filters, 1, bias=False), normalization(filters))

    def forward(self, x):
        y = functional.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.widens else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """From raw pixels 0-255, (n, 3, size, size), to pooled features, (n, 1280)."""

    def __init__(self, variant=0):
        super().__init__()
        width, depth = SCALES[variant]
        self._conv_stem, self._bn0 = Convolution(3, 32, 3, 2, bias=False), normalization(32)
        blocks, channels = [], 32
        for stage, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES):
            if 0 < stage < len(STAGES) - 1:  # the Lite variants scale neither stem and head nor what adjoins them
                repeats = math.ceil(depth * repeats)
            filters = scaled(filters, width)
            for i in range(repeats):
                blocks.append(Block(channels, filters, kernel, stride if i == 0 else 1, expansion))
                channels = filters
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = Convolution(channels, 1280, 1, bias=False), normalization(1280)
        self._fc = nn.Linear(1280, 1000)  # in the checkpoint; features do without it

    def forward(self, pixels):
        x = functional.relu6(self._bn0(self._conv_stem((pixels - 127) / 128)), inplace=True)
        x = self._blocks(x)
        return functional.relu6(self._bn1(self._conv_head(x)), inplace=True).mean((2, 3))


def folded(network):
    """Return a copy whose normalisations are folded into the convolutions before them, by PyTorch's own function."""
    network = copy.deepcopy(network)
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_expand_conv", "_bn0")] if block.widens else []
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, nn.Identity())
    return network


def features(network, images):
    """Return a function from nothing to the features of all images, (n, height, width, 3) uint8."""
    network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run():
        # Turned round without a copy, such images are channels-last already.
        batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(BATCH)
        return torch.cat([network(batch.float()) for batch in batches]).numpy()

    return run


def main(folder):
    inputs = np.load(folder / "inputs.npz")
    network = EfficientNetLite().eval()
    network.load_state_dict(torch.load(str(inputs["checkpoint"]), weights_only=True))
    ways = {"torch": network, "torch folded": folded(network)}
    ways = {name: features(network, inputs["images"]) for name, network in ways.items()}
    square = torch.from_numpy(inputs["square"])
    serve(ways | {"torch matmul": lambda: (square @ square).numpy()[:1]}, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
