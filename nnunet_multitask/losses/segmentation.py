"""nnU-Net's segmentation loss over the samples that have a mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class AnnotatedSamplesLoss(nn.Module):
    """Applies a segmentation loss to the samples of a batch with at least one annotated voxel.

    A sample whose mask is the ignore label everywhere would count as a constant in nnU-Net's Dice loss and, by the
    mean over the batch, halve the gradient of its neighbour. Left out, a batch of a labelled sample and one without
    mask gives the labelled one the gradient that it has alone.

    Args:
        loss: nnU-Net's loss at one scale, of logits (B, K, *spatial) and target (B, C, *spatial).
        ignore_label: value of ignored voxels; None where the target's last channel marks them (regions).
    """

    def __init__(self, loss: nn.Module, ignore_label: int | None) -> None:
        super().__init__()
        self.loss = loss
        self.ignore_label = ignore_label

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the loss, zero with a zero gradient where no sample is annotated."""
        ignored = target[:, -1] > 0 if self.ignore_label is None else target == self.ignore_label
        annotated = ~ignored.flatten(1).all(dim=1)
        if annotated.all():
            return self.loss(logits, target)
        if not annotated.any():
            # called all the same: in a distributed training the Dice loss gathers over all processes
            return 0 * self.loss(logits, target)
        return self.loss(logits[annotated], target[annotated])
