"""Projecting conflicting gradients (PCGrad, Yu et al. 2020), with the core of TorchJD."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.losses.balancing import Balancer
from nnunet_multitask.losses.processes import mean_over_processes


class PCGrad(Balancer):
    """Takes out of each task's gradient what points against the other one, where both pull at the same parameters.

    The gradients of the weighted losses with respect to the shared parameters are computed one after the other; where
    their inner product is negative, each is projected onto the plane normal to the other, and the results are added
    (Yu et al. 2020, algorithm 1). Parameters of one task get its gradient as ever. It costs a second backward pass.

    Several processes first take the mean of each task's gradient, so that they project the gradients of the joint
    batch; the mean of projected gradients would be another vector.

    Args:
        config: the settings of the branch.
        shared: the parameters that both tasks pull at.
        own: the parameters that belong to one of them.

    Raises:
        InputError: TorchJD is not installed.
    """

    separate_gradients = True

    def __init__(
        self, config: MultiTaskConfig, shared: Iterable[torch.nn.Parameter], own: Iterable[torch.nn.Parameter]
    ) -> None:
        check_installed()
        super().__init__(config)
        self.shared = [parameter for parameter in shared if parameter.requires_grad]
        self.own = [parameter for parameter in own if parameter.requires_grad]

    def backward(self, segmentation_loss: torch.Tensor, classification_loss: torch.Tensor) -> torch.Tensor:
        """Add the projected gradients to ``.grad``; return norms and product before the projection, (3,)."""
        from torchjd import aggregation, autojac

        segmentation, classification = self.effective_weights()
        losses = [segmentation * segmentation_loss, classification * classification_loss]
        # one task at a time: the backward pass of a compiled network cannot be batched by vmap
        autojac.backward(losses, inputs=[*self.shared, *self.own], parallel_chunk_size=1)
        for parameter in (*self.shared, *self.own):
            parameter.jac = mean_over_processes(parameter.jac)  # type: ignore[attr-defined]
        sums = _gradient_sums([parameter.jac for parameter in self.shared])  # type: ignore[attr-defined]
        autojac.jac_to_grad(self.shared, aggregation.PCGrad(), optimize_gramian_computation=True)
        autojac.jac_to_grad(self.own, aggregation.Sum())
        return sums


def check_installed() -> None:
    """Refuse to go on without TorchJD.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("torchjd") is None:
        raise InputError(
            "missing-extra",
            "loss_balancing=pcgrad",
            "expected the package torchjd, which projects the gradients, got none",
            'install it with `pip install "nnunet-multitask[pcgrad]"`, or choose another balance',
        )


def _gradient_sums(jacobians: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return squared norms and inner product of the two rows of several Jacobians (2, *shape), (3,)."""
    sums = torch.zeros(3, device=jacobians[0].device)
    for jacobian in jacobians:
        first, second = jacobian.flatten(1).float()
        sums += torch.stack([first @ first, second @ second, first @ second])
    return sums
