"""Penalties of domain adaptation and their gradients in PyTorch, written from the papers."""

import numpy as np
import torch
from serving import serve
from torch.nn import functional

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)


def coral(source, target):
    """Sun & Saenko (2016), equation 1."""
    return (torch.cov(source.T) - torch.cov(target.T)).square().sum() / (4 * source.shape[1] ** 2)


def mmd(source, target):
    """Gretton et al. (2012), equation 3, with the kernels of Long et al. (2015), pair by pair."""
    both = torch.cat([source, target])
    squares = (both[:, None] - both[None]).square().sum(-1)
    width = squares.mean().detach()
    kernel = torch.stack([torch.exp(-squares / (m * width)) for m in MULTIPLES]).mean(0)
    n, m = len(source), len(target)
    of_source = kernel[:n, :n][~torch.eye(n, dtype=bool)].mean()
    of_target = kernel[n:, n:][~torch.eye(m, dtype=bool)].mean()
    return of_source + of_target - 2 * kernel[:n, n:].mean()


class Reversal(torch.autograd.Function):
    """Ganin & Lempitsky (2015), equations 11 and 12."""

    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def adversary(inputs):
    """Return a penalty: cross-entropy of a domain classifier with the given weights, behind the reversal."""
    hidden, hidden_bias, out, out_bias = (torch.from_numpy(inputs[f"adversary_{i}"]).double() for i in range(4))

    def penalty(source, target):
        x = Reversal.apply(torch.cat([source, target]), float(inputs["strength"]))
        logits = (functional.relu(x @ hidden + hidden_bias) @ out + out_bias)[:, 0]
        domains = torch.cat([torch.zeros(len(source)), torch.ones(len(target))]).double()
        return functional.binary_cross_entropy_with_logits(logits, domains)

    return penalty


def disagreement(clean, augmented, shares=None, predicted=None):
    """Sohn et al. (2020), equation 4; with shares, distribution alignment before it (Berthelot et al., 2020)."""
    guesses = clean.softmax(1)
    if shares is not None:
        predicted = 0.95 * predicted + 0.05 * guesses.mean(0)
        guesses = functional.normalize(guesses * shares / predicted, p=1)
    confidence, labels = guesses.max(1)
    return (functional.cross_entropy(augmented, labels, reduction="none") * (confidence > 0.9)).mean()


def value_and_gradients(penalty, *given):
    """Return the value and the gradient for every input, as one vector."""
    given = [torch.from_numpy(each).double().requires_grad_() for each in given]
    value = penalty(*given)
    return torch.cat([value[None], *(each.flatten() for each in torch.autograd.grad(value, given))]).detach().numpy()


def batch_statistics(batches):
    """Return the mean over batches of their means and variances: batch normalisation with a cumulative average."""
    norm = torch.nn.BatchNorm1d(batches.shape[-1], momentum=None).double()
    for batch in batches:
        norm(torch.from_numpy(batch).double())
    n = batches.shape[1]
    return np.stack([norm.running_mean.numpy(), norm.running_var.numpy() * (n - 1) / n])  # PyTorch divides by n - 1


def ways_for(inputs):
    pairs = list(zip(inputs["source"], inputs["target"], strict=True))
    logits = list(zip(inputs["clean"], inputs["augmented"], strict=True))
    shares = torch.from_numpy(inputs["shares"]).double()

    def of_pairs(penalty):
        return lambda: np.array([value_and_gradients(penalty, *pair) for pair in pairs])

    def of_logits(*shares):
        penalties = [disagreement(*map(torch.from_numpy, pair), *shares) for pair in logits]
        return np.array([penalty.item() for penalty in penalties])

    return {
        "coral": of_pairs(coral),
        "mmd": of_pairs(mmd),
        "adversary": of_pairs(adversary(inputs)),
        "fixmatch": of_logits,
        "aligned": lambda: of_logits(shares, shares),
        "statistics": lambda: batch_statistics(inputs["batches"]),
    }


if __name__ == "__main__":
    serve(ways_for)
