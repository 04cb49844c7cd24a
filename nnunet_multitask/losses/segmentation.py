"""nnU-Net's segmentation loss over the samples that have a mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nnunet_multitask.losses.processes import is_distributed, mean_over_processes


class AnnotatedSamplesLoss(nn.Module):
    """Applies a segmentation loss to the samples of a batch with at least one annotated voxel.

    A sample whose mask is the ignore label everywhere would count as a constant in nnU-Net's Dice loss and, by the
    mean over the batch, halve the gradient of its neighbour. Left out, a batch of a labelled sample and one without
    mask gives the labelled one the gradient that it has alone.

    In a distributed training each process weighs by its share of the annotated samples, so that the mean over the
    processes is the mean over those samples. With batch Dice all samples stay: a sample without mask adds nothing to
    the sums that the Dice is made of, and the processes gather those sums sample by sample.

    Args:
        loss: nnU-Net's loss at one scale, of logits (B, K, *spatial) and target (B, C, *spatial).
        ignore_label: value of ignored voxels; None where the target's last channel marks them (regions).
        batch_dice: the loss takes Dice over all samples of a batch together.
    """

    def __init__(self, loss: nn.Module, ignore_label: int | None, batch_dice: bool = False) -> None:
        super().__init__()
        self.loss = loss
        self.ignore_label = ignore_label
        self.batch_dice = batch_dice

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the loss, zero with a zero gradient where no sample is annotated."""
        annotated = annotated_samples(target, self.ignore_label)
        if not is_distributed():
            return self._mean(logits, target, annotated)
        if self.batch_dice:
            return self.loss(logits, target)
        count = annotated.sum().float()
        share = count / mean_over_processes(count).clamp(min=1e-6)
        return share * self._mean(logits, target, annotated)

    def _mean(self, logits: torch.Tensor, target: torch.Tensor, annotated: torch.Tensor) -> Any:
        if annotated.all():
            return self.loss(logits, target)
        if not annotated.any():
            return 0 * self.loss(logits, target)
        return self.loss(logits[annotated], target[annotated])


def annotated_samples(target: torch.Tensor, ignore_label: int | None) -> torch.Tensor:
    """Tell which samples have at least one annotated voxel.

    Args:
        target: segmentation target (B, C, *spatial).
        ignore_label: value of ignored voxels; None where the target's last channel marks them (regions).

    Returns:
        Booleans, (B,).
    """
    ignored = target[:, -1] > 0 if ignore_label is None else target == ignore_label
    return ~ignored.flatten(1).all(dim=1)
