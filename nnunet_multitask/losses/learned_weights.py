"""What the methods share that learn the weights of the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses.balancing import Balancer, Observation


class LearnedWeights(Balancer):
    """Follows the gradient of a loss of its own with respect to the weights of the tasks.

    That gradient is known in closed form, from numbers that an ordinary training step yields; Adam follows it, with
    its own learning rate. Steps without a mask or without a label teach nothing, nor do those in which mixed
    precision ran out of range.
    """

    learns = True

    def __init__(self, config: MultiTaskConfig) -> None:
        super().__init__(config)
        self.learned = self.starting_point().requires_grad_()
        self.optimizer = torch.optim.Adam([self.learned], lr=config.balancing_rate)

    def starting_point(self) -> torch.Tensor:
        """Return what is learned, (2,), as it is where the weights are the fixed ones."""
        return self.weights.clone()

    def gradient(self, observation: Observation) -> torch.Tensor:
        """Return the gradient of the method's loss with respect to what it learns, (2,)."""
        raise NotImplementedError

    def to_weights(self) -> torch.Tensor:
        """Return the weights of the tasks, (2,); may correct what was learned."""
        raise NotImplementedError

    def observe(self, observation: Observation) -> None:
        """Take one step of Adam, once the warm-up is over."""
        if not observation.complete or self.ramp < 1:
            return
        gradient = self.gradient(observation)
        if torch.isfinite(gradient).all():
            self.learned.grad = gradient
            self.optimizer.step()
            with torch.no_grad():
                self.weights = self.to_weights()

    def state(self) -> dict[str, Any]:
        """Return what was learned, the weights that it gave, and the moments of its optimiser."""
        return {
            "learned": self.learned.tolist(),
            "weights": self.weights.tolist(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` returned."""
        with torch.no_grad():
            self.learned.copy_(torch.tensor(state["learned"], dtype=torch.float64))
        self.weights = torch.tensor(state["weights"], dtype=torch.float64)
        self.optimizer.load_state_dict(dict(state["optimizer"]))
