"""How the losses of the two tasks become one gradient: fixed weights with a warm-up, and what all balancers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses.processes import mean_over_processes

# nnU-Net's Dice term is minus the Dice, so that its loss ends near -1. Methods that take a loss for an uncertainty or
# for progress need it to end near 0: with 1 added, it is (1 - Dice) + cross-entropy, of the same gradient.
DICE_OFFSET = 1.0


@dataclass(frozen=True)
class Observation:
    """What one training step showed of both tasks, over the batches of all processes.

    Attributes:
        losses: of segmentation and classification, without weights, at least 0; float64 (2,).
        gradient_norms: of both weighted losses, with respect to the features of the last shared stage, up to a common
            factor; float64 (2,).
        complete: both tasks had something to learn from, a mask and a label that counts, and all numbers are finite.
    """

    losses: torch.Tensor
    gradient_norms: torch.Tensor
    complete: bool

    @classmethod
    def of_step(cls, losses: torch.Tensor, gradient_sums: torch.Tensor, known: torch.Tensor) -> Observation:
        """Join what the processes saw.

        Args:
            losses: segmentation and classification loss of this process, (2,), the former as nnU-Net computes it.
            gradient_sums: squared norms first, as ``gradient_probe`` gives them, (3,).
            known: samples with a mask, and known labels, of this process, (2,).
        """
        values = torch.cat([part.detach().float() for part in (losses, gradient_sums[:2], known)])
        values = mean_over_processes(values).cpu().double()
        # the classification's loss is exactly 0 only where no label counts, or all have the weight 0
        complete = bool(torch.isfinite(values).all() and (values[4:] > 0).all() and values[1] > 0)
        task_losses = (values[:2] + torch.tensor([DICE_OFFSET, 0.0])).clamp(min=0)
        return cls(task_losses, values[2:4].clamp(min=0).sqrt(), complete)


class Balancer:
    """Adds the losses up with fixed weights; the classification's grows linearly over the first epochs.

    Methods that learn their weights start from these, and begin to learn when the warm-up is over. What they learn
    lies outside the network: weight decay and the clipping of its gradient do not touch it, and it never enters its
    checkpointed weights.

    Args:
        config: the settings of the branch.
    """

    learns = False  # wants an observation after each step
    separate_gradients = False  # computes the gradient of each task by itself, and joins those of several processes

    def __init__(self, config: MultiTaskConfig) -> None:
        self.warmup_epochs = config.warmup_epochs
        self.weights = torch.tensor([1.0, config.classification_weight], dtype=torch.float64)
        self.epoch = 0

    @property
    def ramp(self) -> float:
        """Share of the classification's weight that counts in this epoch, above 0 and up to 1."""
        return min(1.0, (self.epoch + 1) / (self.warmup_epochs + 1))

    def effective_weights(self) -> tuple[float, float]:
        """Return the factors of segmentation and classification loss in this epoch and step."""
        segmentation, classification = self.weights.tolist()
        return segmentation, classification * self.ramp

    def backward(self, segmentation_loss: torch.Tensor, classification_loss: torch.Tensor) -> torch.Tensor | None:
        """Add the gradient of the balanced losses to ``.grad`` of the parameters.

        Args:
            segmentation_loss, classification_loss: scalars, multiplied by the factor of mixed precision.

        Returns:
            Squared norms and inner product of both tasks' gradients, (3,), where the method has them in hand.
        """
        segmentation, classification = self.effective_weights()
        (segmentation * segmentation_loss + classification * classification_loss).backward()
        return None

    def observe(self, observation: Observation) -> None:
        """Learn from a step; called with the same values in every process."""

    def state(self) -> dict[str, Any]:
        """Return what a training needs to go on with the same weights."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` returned."""
