"""Weighing the losses by learned uncertainty (Kendall, Gal and Cipolla 2018)."""

from __future__ import annotations

import torch

from nnunet_multitask.losses.balancing import Observation
from nnunet_multitask.losses.learned_weights import LearnedWeights


class UncertaintyWeights(LearnedWeights):
    """Weighs each loss by ``exp(-s)``, with ``s`` the learned logarithm of the task's variance.

    The joint loss is the sum of ``exp(-s) L + s / 2`` over the tasks (Kendall et al. 2018, eq. 10, with
    ``s = log sigma^2``, which they learn for the sake of stability). Its gradient with respect to ``s`` is
    ``1/2 - exp(-s) L``, so that each weight tends to ``1 / (2 L)``: a task counts by its relative, not its absolute
    progress.
    """

    def starting_point(self) -> torch.Tensor:
        """Return the logarithms of the variances whose weights are the fixed ones, (2,)."""
        return -torch.log(self.weights)

    def gradient(self, observation: Observation) -> torch.Tensor:
        """Return the gradient with respect to the logarithms of the variances, (2,)."""
        return 0.5 - self.weights * observation.losses

    def to_weights(self) -> torch.Tensor:
        """Return the inverse variances, (2,)."""
        return torch.exp(-self.learned)
