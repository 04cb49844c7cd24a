"""One step of the optimiser on a batch that goes through the network as a whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_multitask.config import ScheduleConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.losses.processes import mean_over_processes
from nnunet_multitask.losses.segmentation import annotated_samples
from nnunet_multitask.training.checkpoints import Trainer
from nnunet_multitask.training.preconditions import check_nothing_is_lost

_LARGEST_NORM = 12  # nnU-Net clips the norm of the network's gradient to this

Target = torch.Tensor | list[torch.Tensor]  # (B, C, *spatial), or with deep supervision one at each scale, finest first


@dataclass(frozen=True)
class Part:
    """Samples of a batch that go through the network together.

    Attributes:
        rows: which samples.
        share: what their mean segmentation loss counts for in that of the batch.
        last: no further part follows.
    """

    rows: slice
    share: float | torch.Tensor
    last: bool

    def of(self, target: Target) -> Target:
        """Return these samples of a target."""
        return [level[self.rows] for level in target] if isinstance(target, list) else target[self.rows]


class SteppingMixin(Trainer):
    """Trains on a batch in parts of ``micro_batch_size`` samples, whose gradients add up, before the optimiser steps.

    The segmentation loss of a part counts by its share of the samples (with an ignore label: of those with a mask),
    so that what is a mean over samples or an equal number of voxels has the gradient of the whole batch. Batch Dice,
    one Dice over all samples together, becomes one Dice for each part. Batch normalisation, too, sees only the part.
    """

    schedule: ScheduleConfig

    def train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Take nnU-Net's step, or the same in parts."""
        if self.schedule.micro_batch_size == 0:
            return super().train_step(batch)
        data, target = to_device(batch["data"], self.device), to_device(batch["target"], self.device)
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for part in self.parts_of(target):
            with synchronised(self.network, part.last):
                with self.autocast():
                    loss = part.share * self.loss(self.network(data[part.rows]), part.of(target))
                self.scaled(loss).backward()
            total += loss.detach()
        self.take_step()
        return {"loss": total.cpu().numpy()}

    def parts_of(self, target: Target) -> list[Part]:
        """Divide a batch, of which this is the segmentation target."""
        finest = finest_of(target)
        batch_size = len(finest)
        size = self.schedule.micro_batch_size or batch_size
        if size >= batch_size:
            return [Part(slice(0, batch_size), 1.0, last=True)]
        rows = [slice(start, min(start + size, batch_size)) for start in range(0, batch_size, size)]
        annotated = self.samples_with_mask(finest).float()
        counts = mean_over_processes(torch.stack([annotated[part].sum() for part in rows]))
        shares = counts / counts.sum().clamp(min=1e-6)
        return [Part(part, share, part.stop == batch_size) for part, share in zip(rows, shares, strict=True)]

    def samples_with_mask(self, finest: torch.Tensor) -> torch.Tensor:
        """Tell which samples of a target at full resolution have an annotated voxel, booleans (B,)."""
        labels = self.label_manager
        if not labels.has_ignore_label:
            return torch.ones(len(finest), dtype=torch.bool, device=finest.device)
        return annotated_samples(finest, None if labels.has_regions else labels.ignore_label)

    def check_parts(self) -> None:
        """Refuse parts of a batch where they cannot be had.

        Raises:
            InputError: the trainer has a step of its own, or several GPUs would not have the same number of parts.
        """
        if self.schedule.micro_batch_size == 0:
            return
        check_nothing_is_lost(type(self), SteppingMixin, ("train_step",))
        if not self.is_ddp:
            return
        whole, processes = self.configuration_manager.batch_size, dist.get_world_size()
        if whole % processes:
            raise InputError(
                "uneven-batch",
                f"plans {self.plans_manager.plans_name}, micro_batch_size",
                f"expected a batch that {processes} GPUs share evenly, got {whole} samples",
                f"choose a batch size that {processes} divides, or micro_batch_size=0",
            )

    def gathered(self, values: list[Any]) -> list[Any]:
        """Return the values of all processes of a distributed training."""
        if not self.is_ddp:
            return values
        parts: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return nnU-Net's mixed precision: on a GPU only."""
        return torch.autocast("cuda") if self.device.type == "cuda" else nullcontext()

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Return a loss times the factor of mixed precision."""
        return loss if self.grad_scaler is None else self.grad_scaler.scale(loss)

    def take_step(self) -> None:
        """Clip the gradients that the backward passes left, and let the optimiser step."""
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_NORM)
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()


@contextmanager
def synchronised(network: nn.Module, wanted: bool) -> Iterator[None]:
    """Run a forward and a backward pass, after which the processes join their gradients only where it is wanted."""
    with nullcontext() if wanted or not isinstance(network, DistributedDataParallel) else network.no_sync():
        yield


def bare(network: nn.Module) -> nn.Module:
    """Return a network without the wrappers that nnU-Net puts around it for several GPUs and for compiling."""
    if isinstance(network, DistributedDataParallel):
        network = network.module
    return getattr(network, "_orig_mod", network)


def finest_of(target: Target) -> torch.Tensor:
    """Return the segmentation target at full resolution."""
    return target[0] if isinstance(target, list) else target


def to_device(tensor: Any, device: torch.device) -> Any:
    """Move a tensor, or a list or dictionary of tensors."""
    if isinstance(tensor, list):
        return [level.to(device, non_blocking=True) for level in tensor]
    if isinstance(tensor, dict):
        return {name: value.to(device, non_blocking=True) for name, value in tensor.items()}
    return tensor.to(device, non_blocking=True)
