"""Weighing the losses so that both tasks train at similar rates (GradNorm, Chen et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses.balancing import Observation
from nnunet_multitask.losses.learned_weights import LearnedWeights

_SMALLEST_SHARE = 1e-3  # of the sum of the weights: at 0 a task would have no gradient to come back by


class GradNorm(LearnedWeights):
    """Moves the weights until the gradient of each task has the size that its rate of training asks for.

    With ``G`` the norms of the gradients of the weighted losses and ``r`` the inverse training rates, that is each
    loss relative to its first value, divided by their mean, the wanted norm of a task is ``mean(G) * r^alpha``, and
    the weights follow the gradient of the sum over the tasks of ``|G - wanted|``, with the wanted norms held fixed
    (Chen et al. 2018, eq. 1 and 2, algorithm 1). Since ``G`` is the weight times the norm of the plain gradient, the
    gradient with respect to a weight is the sign of ``G - wanted`` times that norm; here in units of ``mean(G)``, so
    that the factor of mixed precision falls out. After each step the weights are scaled to the sum that they started
    with.

    The paper takes the norms with respect to the weights of the last layer that the tasks share. Here they are those
    with respect to the features of the last shared stage, which the ordinary backward pass yields exactly for a
    compiled network, several processes or a divided batch; with respect to weights each task would need a backward
    pass of its own.
    """

    def __init__(self, config: MultiTaskConfig) -> None:
        super().__init__(config)
        self.alpha = config.gradnorm_alpha
        self.total = float(self.weights.sum())
        self.first_losses: torch.Tensor | None = None

    def observe(self, observation: Observation) -> None:
        """Take one step of Adam; where a task has no gradient, no weight could give it one."""
        if (observation.gradient_norms > 0).all():
            super().observe(observation)

    def gradient(self, observation: Observation) -> torch.Tensor:
        """Return the gradient with respect to the weights, (2,)."""
        if self.first_losses is None:
            self.first_losses = observation.losses.clamp(min=1e-6)
        norms = observation.gradient_norms
        rates = observation.losses / self.first_losses
        wanted = norms.mean() * (rates / rates.mean()) ** self.alpha
        return torch.sign(norms - wanted) * norms / self.weights / norms.mean()

    def to_weights(self) -> torch.Tensor:
        """Return the weights, (2,), scaled to their sum at the start."""
        positive = self.learned.clamp(min=_SMALLEST_SHARE * self.total)
        self.learned.copy_(positive * self.total / positive.sum())
        return self.learned.detach().clone()

    def state(self) -> dict[str, Any]:
        """Return weights, optimiser and the losses that progress is measured from."""
        first = None if self.first_losses is None else self.first_losses.tolist()
        return {**super().state(), "first_losses": first}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` returned."""
        super().load_state(state)
        first = state["first_losses"]
        self.first_losses = None if first is None else torch.tensor(first, dtype=torch.float64)
