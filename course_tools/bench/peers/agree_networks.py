"""Checkpoints, features, operations, maps and gradients of networks, by PyTorch and captum."""

import numpy as np
import torch
from captum.attr import LayerGradCam
from serving import serve
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torch_features import efficientnet_lite, pooled


def flat(tensors):
    """Return all values of a state dictionary, name after name, as one vector of float64."""
    return np.concatenate([tensor.double().numpy().ravel() for tensor in tensors.values()])


def saved(path):
    """Save tensors of many types and layouts as a zip file; return their values."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, 5, generator=random)
    state = {
        "view": x[1::2, :, 3],
        "turned": x.permute(2, 0, 1),
        "half": x.half(),
        "double": x.double(),
        "one": x[2, 1, 3],
    }
    state |= {str(kind): (40 * x).to(kind) for kind in (torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)}
    torch.save(state, path)
    return flat(state)


def operations(variant, checkpoint, size):
    network = efficientnet_lite(variant, checkpoint, size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


def gradients(depthwise, *given):
    """Return the gradients of the mean square of a convolution, in the layout of Keras."""
    x, kernel = (torch.from_numpy(each).double().requires_grad_() for each in given)
    order, groups = ((2, 3, 0, 1), x.shape[-1]) if depthwise else ((3, 2, 0, 1), 1)
    y = functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(order), padding="same", groups=groups)
    return np.concatenate([each.numpy().ravel() for each in torch.autograd.grad(y.square().mean(), (x, kernel))])


def ways_for(inputs):
    checkpoints = inputs["checkpoints"].tolist()
    network = efficientnet_lite(0, checkpoints[0], inputs["images"].shape[1])
    pixels = torch.from_numpy(inputs["images"]).permute(0, 3, 1, 2).float()
    head = torch.from_numpy(inputs["head"])

    @torch.inference_mode()
    def features():
        return pooled(network, pixels).numpy()

    def maps():
        cam = LayerGradCam(lambda x: pooled(network, x) @ head, network._blocks[int(inputs["block"])])
        found = cam.attribute(pixels, relu_attributions=True)[:, 0].detach()
        return (found / found.amax((1, 2), keepdim=True)).numpy()

    return {
        "legacy": lambda: flat(torch.load(checkpoints[0], map_location="cpu", weights_only=True)),
        "zip": lambda: saved(str(inputs["zip"])),
        "features": features,
        "operations": lambda: np.array([operations(i, checkpoints[i], int(inputs["sizes"][i])) for i in range(3)]),
        "maps": maps,
        "pointwise": lambda: gradients(False, inputs["x"], inputs["pointwise"]),
        "three": lambda: gradients(True, inputs["x"], inputs["three"]),
        "five": lambda: gradients(True, inputs["x"], inputs["five"]),
    }


if __name__ == "__main__":
    serve(ways_for)
