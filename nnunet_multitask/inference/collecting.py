"""Getting the class logits out of code that only knows segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nnunet_multitask.labels import Target


class CollectingNetwork:
    """Stands in for a network: returns its segmentation, and keeps the class logits of each call.

    nnU-Net calls ``self.network(x)`` in its validation step and for every mirrored tile. Put in that place for the
    duration of one such call, this gives it the tensor it expects, and the caller the classification of the very
    same forward passes. Every other attribute is the network's own.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.logits: list[dict[str, torch.Tensor]] = []

    def __call__(self, x: torch.Tensor) -> Any:
        segmentation, logits = self.network(x, classify=True)
        self.logits.append(logits)
        return segmentation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)


def probabilities_of(logits: Mapping[str, torch.Tensor], targets: Mapping[str, Target]) -> dict[str, torch.Tensor]:
    """Turn logits (B, outputs) into probabilities of the same shape: softmax for multiclass, else sigmoid."""
    return {
        name: torch.softmax(logits[name].float(), dim=1)
        if target.type == "multiclass"
        else torch.sigmoid(logits[name].float())
        for name, target in targets.items()
    }
