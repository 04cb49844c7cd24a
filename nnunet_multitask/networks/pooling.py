"""Pooling of an encoder stage into a few vectors, with no more passes over its voxels than it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

_EPSILON = 1e-6  # so that a guide without any foreground becomes the plain mean


def average_pooling(stage: torch.Tensor) -> torch.Tensor:
    """Return the mean over the voxels of a stage (B, C, *spatial), as (B, 1, C) in float32."""
    return stage.flatten(2).mean(dim=2, dtype=torch.float32).unsqueeze(1)


def attention_over_voxels(stage: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Score every voxel of a stage linearly and turn the scores into weights that sum to 1.

    Args:
        stage: (B, C, *spatial).
        weight: what each channel counts, C values in any shape. A constant is left out: the softmax takes no notice.

    Returns:
        (B, 1, N) in float32, over the N voxels.
    """
    voxels = stage.flatten(2).float()
    # bmm, since matmul would copy the stage in another order
    return torch.softmax(torch.bmm(weight.float().reshape(1, 1, -1).expand(len(voxels), -1, -1), voxels), dim=2)


def guide_weights(foreground: torch.Tensor) -> torch.Tensor:
    """Turn foreground probabilities (B, 1, *spatial) into weights (B, 1, N) in float32 that sum to 1."""
    mask = foreground.float().flatten(2) + _EPSILON
    return mask / mask.sum(dim=2, keepdim=True)


def foreground_of_stages(foreground: torch.Tensor, sizes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Average a foreground probability (B, 1, *spatial) over what each voxel of each stage covers.

    Each level is made from the one before where its size divides that one's, as nnU-Net's do; the result is the same
    as from the finest, and costs less.

    Args:
        foreground: at full resolution.
        sizes: spatial sizes of the stages, finest first.
    """
    three = foreground.ndim == 5
    average: Any = functional.avg_pool3d if three else functional.avg_pool2d
    adaptive: Any = functional.adaptive_avg_pool3d if three else functional.adaptive_avg_pool2d
    levels, level = [], foreground
    for size in sizes:
        before = tuple(level.shape[2:])
        if before != tuple(size):
            if all(fine % coarse == 0 for fine, coarse in zip(before, size, strict=True)):
                level = average(level, [fine // coarse for fine, coarse in zip(before, size, strict=True)])
            else:
                level = adaptive(foreground, tuple(size))
        levels.append(level)
    return levels


class AttendedPooling(torch.autograd.Function):
    """Mean, mean under attention and, where there is a guide, mean under the guide: ``apply`` gives (B, P, C).

    Written out with its gradient, because autograd would write and add up one gradient of the size of the stage for
    every use of it, and the gradient of a 1x1 convolution to one channel is slow on the CPU: together a tenth of a
    training step of a small network. Features in half precision are summed in float32, which a voxel's weight among a
    million needs, but are kept for the backward pass as they are.

    Arguments of ``apply``: stage (B, C, *spatial); weight and bias of the attention's 1x1 convolution; guide (B, 1, N)
    as from ``guide_weights``, or None. No gradient reaches the guide.
    """

    @staticmethod
    def forward(
        ctx: Any, stage: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, guide: torch.Tensor | None
    ) -> torch.Tensor:
        """Pool a stage; see the class."""
        voxels = stage.flatten(2).float()  # (B, C, N)
        attention = attention_over_voxels(voxels, weight)
        rows = attention if guide is None else torch.cat((attention, guide), dim=1)
        weighted = torch.bmm(rows, voxels.transpose(1, 2))
        ctx.save_for_backward(stage, weight, bias, attention, weighted[:, :1].clone(), guide)
        return torch.cat((average_pooling(voxels), weighted), dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of stage, weight and bias."""
        stage, weight, bias, attention, attended, guide = ctx.saved_tensors
        with torch.autocast(stage.device.type, enabled=False):
            voxels = stage.flatten(2).float()  # (B, C, N)
            of_attended = gradient[:, 1:2].float()  # (B, 1, C)
            # through the softmax: each voxel's attention times how far its value is above the mean
            above_mean = torch.bmm(of_attended, voxels) - (of_attended * attended).sum(dim=2, keepdim=True)
            of_scores = attention * above_mean  # (B, 1, N)
            of_weight = torch.bmm(of_scores, voxels.transpose(1, 2)).sum(dim=0).view_as(weight).to(weight.dtype)
            of_stage = None
            if ctx.needs_input_grad[0]:
                # all four parts in one product, so that the gradient of the stage is written once
                rows = [torch.ones_like(attention), attention, of_scores]
                channels = weight.float().reshape(1, 1, -1).expand_as(of_attended)
                columns = [gradient[:, :1].float() / voxels.shape[2], of_attended, channels]
                if guide is not None:
                    rows.append(guide)
                    columns.append(gradient[:, 2:3].float())
                of_stage = torch.bmm(torch.cat(columns, dim=1).transpose(1, 2), torch.cat(rows, dim=1))
                of_stage = of_stage.view_as(stage).to(stage.dtype)
        return of_stage, of_weight, torch.zeros_like(bias), None
