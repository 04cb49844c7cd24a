"""nnU-Net's segmentation loss over the samples that have a mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    processes is the mean over those samples. With batch Dice all samples stay, and only cross-entropy is weighed: a
    sample without mask adds nothing to the sums that the Dice is made of, which nnU-Net gathers over the processes.

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
        count = annotated.sum().float()
        share = count / mean_over_processes(count).clamp(min=1e-6)
        if not self.batch_dice:
            return share * self._mean(logits, target, annotated)
        with _cross_entropy_weighed(self.loss, share):
            return self.loss(logits, target)

    def _mean(self, logits: torch.Tensor, target: torch.Tensor, annotated: torch.Tensor) -> Any:
        if annotated.all():
            return self.loss(logits, target)
        if not annotated.any():
            return 0 * self.loss(logits, target)
        return self.loss(logits[annotated], target[annotated])


@contextmanager
def _cross_entropy_weighed(loss: Any, factor: torch.Tensor) -> Iterator[None]:
    """Multiply the weight of cross-entropy in nnU-Net's compound losses, while the block runs; Dice alone has none."""
    weight = getattr(loss, "weight_ce", None)
    if weight is None:
        yield
        return
    loss.weight_ce = weight * factor
    try:
        yield
    finally:
        loss.weight_ce = weight


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
