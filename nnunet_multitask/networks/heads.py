"""Classification heads: one linear layer a target on the fused vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class ClassificationHeads(nn.Module):
    """One small head for each target.

    Args:
        input_channels: width of the fused vector.
        num_outputs: for each target the number of its logits: 1 for a binary one, else the number of classes.
        dropout: dropout probability in front of the linear layers.
    """

    def __init__(self, input_channels: int, num_outputs: Mapping[str, int], dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        # indexed, because a target's name may hold characters that a module's name must not
        self.names = tuple(num_outputs)
        self.layers = nn.ModuleList(nn.Linear(input_channels, num_outputs[name]) for name in self.names)

    def forward(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map a fused vector (B, input_channels) to the logits of each target, (B, outputs)."""
        vector = self.dropout(vector)
        return {name: layer(vector) for name, layer in zip(self.names, self.layers, strict=True)}
