"""Standardisation of a feature over the cases seen so far, for batches too small to have statistics of their own."""

from __future__ import annotations

import torch
from torch import nn


class RunningStandardization(nn.Module):
    """Subtracts the running mean and divides by the running standard deviation of each feature.

    Unlike batch normalisation it uses the running moments in training too, so that two or four samples in a batch do
    not set each other's value. The first batches count by their number, later ones with weight ``momentum``. In a
    distributed training all processes have the moments of the first one's batches.

    Args:
        num_features: F.
        momentum: weight of a new batch in the moments.
        floor: added to the standard deviation, so that a constant feature stays finite.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    batches: torch.Tensor

    def __init__(self, num_features: int, momentum: float = 0.05, floor: float = 1e-3) -> None:
        super().__init__()
        self.momentum = momentum
        self.floor = floor
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("variance", torch.ones(num_features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardise features (B, F)."""
        if self.training:
            with torch.no_grad():
                self._update(x)
        return (x - self.mean) / (self.variance.sqrt() + self.floor)

    def _update(self, x: torch.Tensor) -> None:
        """Take a batch into the moments, as in West 1979 with exponential weights."""
        self.batches += 1
        weight = torch.clamp(1 / self.batches, min=self.momentum)
        difference = x - self.mean
        self.mean += weight * difference.mean(dim=0)
        # before the first batch there is no mean to differ from: the variance starts from the second
        spread = (1 - weight) * (self.variance + weight * difference.square().mean(dim=0))
        self.variance.copy_(torch.where(self.batches > 2, spread, (x - self.mean).square().mean(dim=0) + self.floor))
