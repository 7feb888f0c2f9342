"""Features of EfficientNet-Lite in PyTorch, by the package that made the course's checkpoints."""

import copy

import torch
from efficientnet_lite_pytorch import EfficientNet
from serving import serve
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH = 32


def efficientnet_lite(variant, checkpoint, size):
    """Return the network with its weights, ready for normalised images (n, 3, size, size)."""
    network = EfficientNet.from_name(f"efficientnet-lite{variant}", image_size=size).eval()
    network.load_state_dict(torch.load(str(checkpoint), map_location="cpu", weights_only=True))
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True  # as fast as the same network can be
        # The package pads by a step of its own; where all sides are alike, the convolution does it for nothing.
        sides = getattr(getattr(module, "static_padding", None), "padding", ())
        if len(set(sides)) == 1:
            module.padding, module.static_padding = sides[:2], nn.Identity()
    return network


def pooled(network, pixels):
    """Return the features, (n, 1280), of raw pixels 0-255, (n, 3, size, size)."""
    return network.extract_features((pixels - 127) / 128).mean((2, 3))


def folded(network):
    """Return a copy whose normalisations are folded into the convolutions before them, by PyTorch's own function."""
    network = copy.deepcopy(network)
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
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
        return torch.cat([pooled(network, batch.float()) for batch in batches]).numpy()

    return run


def ways_for(inputs):
    network = efficientnet_lite(0, inputs["checkpoint"], inputs["images"].shape[1])
    ways = {"torch": network, "torch folded": folded(network)}
    ways = {name: features(network, inputs["images"]) for name, network in ways.items()}
    square = torch.from_numpy(inputs["square"])
    return ways | {"torch matmul": lambda: (square @ square).numpy()[:1]}


if __name__ == "__main__":
    serve(ways_for)
