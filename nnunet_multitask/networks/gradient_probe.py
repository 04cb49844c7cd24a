"""Reading the gradients of both tasks where they meet, in the ordinary backward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


class _Fork(torch.autograd.Function):
    """Gives a tensor to two users; on the way back it sees the gradient of each, and adds them up as ever."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features.view_as(features), features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = (gradient.float() for gradient in gradients)
        sums = torch.stack([(first * first).sum(), (second * second).sum(), (first * second).sum()])
        return gradients[0] + gradients[1], sums


def fork(features: torch.Tensor, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split features into two equal ones, and have the products of their gradients written into ``probe.grad``.

    The sums are computed where autograd has both gradients in hand, so that they cost no second pass and no memory;
    they are part of the graph, so that a compiled network computes them too. Backward passes over parts of a batch
    add up to the sums over the batch.

    Args:
        features: any shape.
        probe: what ``new_probe`` returned.
    """
    return _Fork.apply(features, probe)


def new_probe(device: torch.device) -> torch.Tensor:
    """Return a leaf (3,) whose gradient becomes [sum g1^2, sum g2^2, sum g1 g2] over all elements of the features."""
    return torch.zeros(3, device=device, requires_grad=True)


def gradient_cosine(sums: Sequence[float]) -> float:
    """Return the cosine of the angle between two gradients.

    It does not depend on the scale of a loss, nor on its weight: 1 where both tasks pull the same way, below 0 where
    they are in conflict (Yu et al. 2020, definition 1).

    Args:
        sums: squared norm of the one, squared norm of the other, inner product.

    Returns:
        -1 to 1; NaN where a gradient is zero or not finite.
    """
    first, second, product = (float(value) for value in sums)
    norms = math.sqrt(first) * math.sqrt(second) if first > 0 and second > 0 else 0.0
    if norms == 0 or not math.isfinite(norms) or not math.isfinite(product):
        return float("nan")
    return max(-1.0, min(1.0, product / norms))
