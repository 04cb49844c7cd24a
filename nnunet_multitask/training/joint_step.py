"""The gradient of both tasks' losses on one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from nnunet_multitask.losses.balancing import Balancer
from nnunet_multitask.losses.classification import ClassificationLoss, label_counts
from nnunet_multitask.losses.processes import is_distributed
from nnunet_multitask.networks.gradient_probe import new_probe
from nnunet_multitask.training.stepping import Part, Target, synchronised


@dataclass(frozen=True)
class Samples:
    """A batch on the device.

    Attributes:
        data: patches (B, C, *spatial).
        target: segmentation target.
        labels, weights: of each classification target, (B, K), as ``ClassificationLoss`` takes them.
    """

    data: torch.Tensor
    target: Target
    labels: Mapping[str, torch.Tensor]
    weights: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class JointStep:
    """What it takes to turn a batch into gradients; the network may be compiled or distributed.

    Attributes:
        network: called as ``MultiTaskUNet``.
        segmentation_loss: nnU-Net's, of logits and target.
        classification_loss: of logits, labels, their weights and counts.
        balancer: how both become one gradient.
        scaled: multiplies a loss by the factor of mixed precision.
        autocast: makes the context of mixed precision.
    """

    network: nn.Module
    segmentation_loss: Callable[[Any, Any], torch.Tensor]
    classification_loss: ClassificationLoss
    balancer: Balancer
    scaled: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def backward(self, samples: Samples, parts: Iterable[Part]) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradient of the balanced losses over a batch to ``.grad`` of the network's parameters.

        Args:
            samples: the batch.
            parts: which of its samples go through the network together.

        Returns:
            Segmentation and classification loss of the batch, (2,), and squared norms and inner product of the two
            gradients with respect to the last shared features, (3,), both without a gradient.
        """
        separate = self.balancer.separate_gradients
        if separate and is_distributed():
            _take_buffers_of_the_first(self.network)
        # hooks on features do not fire inside a compiled network; the probe is one of its inputs
        probe = None if separate else new_probe(samples.data.device)
        counts = label_counts(samples.labels)
        losses = torch.zeros(2, device=samples.data.device)
        sums = None
        for part in parts:
            labels, weights = (_rows(values, part.rows) for values in (samples.labels, samples.weights))
            with synchronised(self.network, part.last and not separate):
                with self.autocast():
                    segmentation, logits = self.network(samples.data[part.rows], classify=True, probe=probe)
                    segmentation_loss = part.share * self.segmentation_loss(segmentation, part.of(samples.target))
                    classification_loss = self.classification_loss(logits, labels, weights, counts)
                sums = self.balancer.backward(self.scaled(segmentation_loss), self.scaled(classification_loss))
            losses += torch.stack([segmentation_loss.detach(), classification_loss.detach()])
        if probe is not None:
            sums = probe.grad
        assert sums is not None
        return losses, sums


def _rows(values: Mapping[str, torch.Tensor], rows: slice) -> dict[str, torch.Tensor]:
    return {name: value[rows] for name, value in values.items()}


def _take_buffers_of_the_first(network: nn.Module) -> None:
    """Copy running moments from the first process, as DDP does where it joins the gradients itself."""
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)
