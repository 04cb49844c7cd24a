"""Fusion of all encoder stages into one vector: spatial attention, channel attention, learned stage weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nnunet_multitask.networks.standardization import RunningStandardization

_EPSILON = 1e-6


class AttentionFusion(nn.Module):
    """Pools each encoder stage in up to three ways, projects the results and sums them over the stages.

    Of every stage it takes the plain mean over the patch; with ``attention`` also the mean under a learned spatial
    attention (a 1x1 convolution, softmax over the voxels); with ``guided`` also the mean under the network's own
    foreground probability. Nets with instance normalisation keep little in their plain mean, because normalisation
    fixes it: what tells classes apart is where a feature is, which the other two keep. Pooled vectors are projected
    to a common width, gated by channel attention (squeeze and excitation, Hu et al. 2018, eq. 3) and summed with
    learned stage weights.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``, that of the encoder.
        stage_channels: channels of the encoder's stages, finest first.
        channels: width D of the common projection.
        pooling: ``average``, ``attention`` or ``guided``; each includes the ones before it.
    """

    def __init__(
        self, conv_op: Callable[..., nn.Module], stage_channels: Sequence[int], channels: int, pooling: str
    ) -> None:
        super().__init__()
        self.guided = pooling == "guided"
        self.num_pools = {"average": 1, "attention": 2, "guided": 3}[pooling]
        # the fused vector: one of width D for each way of pooling, and the foreground's share where guided
        self.output_channels = self.num_pools * channels + int(self.guided)
        self.attention: nn.ModuleList | None = None
        if self.num_pools > 1:
            self.attention = nn.ModuleList(conv_op(width, 1, kernel_size=1) for width in stage_channels)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(width, channels), nn.LeakyReLU()) for width in stage_channels
        )
        squeezed = max(channels // 4, 1)
        self.channel_attention = nn.Sequential(
            nn.Linear(channels, squeezed), nn.LeakyReLU(), nn.Linear(squeezed, channels), nn.Sigmoid()
        )
        self.share_scale = RunningStandardization(1)
        self.stage_logits = nn.Parameter(torch.zeros(len(stage_channels)))

    def stage_weights(self) -> torch.Tensor:
        """Return the weights of the stages, shape (S,), which sum to 1."""
        return torch.softmax(self.stage_logits, dim=0)

    def attention_maps(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the spatial attention of each stage, shape (B, 1, *spatial), which sums to 1 over the voxels.

        Empty where pooling is ``average``.
        """
        if self.attention is None:
            return []
        return [
            _softmax_over_space(score(stage)).view(stage.shape[0], 1, *stage.shape[2:])
            for score, stage in zip(self.attention, features, strict=True)
        ]

    def forward(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None = None) -> torch.Tensor:
        """Fuse the stages.

        Args:
            features: the encoder's stages, each (B, C_s, *spatial_s), finest first.
            foreground: probability of foreground, (B, 1, *spatial_0); needed where pooling is ``guided``.

        Returns:
            The fused vector, (B, output_channels), in float32.
        """
        weights = [self._voxel_weights(index, stage, foreground) for index, stage in enumerate(features)]
        # half precision cannot hold the weight of one voxel among a hundred thousand
        with torch.autocast(features[0].device.type, enabled=False):
            vector = self._fuse(features, weights)
            if foreground is not None and self.guided:
                share = foreground.float().flatten(1).mean(dim=1, keepdim=True)
                # lesions fill 1e-5 to 1e-1 of a patch, hence the logarithm; by how much differs between data sets
                vector = torch.cat((vector, self.share_scale(torch.log10(share + 1e-5))), dim=1)
        return vector

    def _fuse(self, features: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pool the stages with weights (B, P, N_s), project and sum them; return (B, P * D)."""
        pooled = [
            projection(torch.bmm(weight, stage.float().flatten(2).transpose(1, 2)))  # (B, P, D)
            for stage, weight, projection in zip(features, weights, self.projections, strict=True)
        ]
        stages = torch.stack(pooled, dim=1)  # (B, S, P, D)
        # the gate is about 1 at first: one that halves the signal delays learning. The weights of the stages sum to 1:
        # a branch with several times the signal pulls at the encoder and costs segmentation
        gate = 2 * self.channel_attention(stages.mean(dim=(1, 2)))  # (B, D)
        fused = (stages * self.stage_weights()[None, :, None, None]).sum(dim=1) * gate[:, None]
        return fused.flatten(1)

    def _voxel_weights(self, index: int, stage: torch.Tensor, foreground: torch.Tensor | None) -> torch.Tensor:
        """Return the weight of each voxel in each pooled vector, (B, P, N); every row sums to 1."""
        num_voxels = stage[0, 0].numel()
        rows = [torch.full((stage.shape[0], 1, num_voxels), 1 / num_voxels, device=stage.device)]
        if self.attention is not None:
            rows.append(_softmax_over_space(self.attention[index](stage)))
        if self.guided:
            if foreground is None:
                raise ValueError("expected the foreground probability, which guided pooling needs; got None")
            pool: Any = functional.adaptive_avg_pool3d if stage.ndim == 5 else functional.adaptive_avg_pool2d
            mask = pool(foreground.float(), tuple(stage.shape[2:])).flatten(2) + _EPSILON
            rows.append(mask / mask.sum(dim=2, keepdim=True))
        return torch.cat(rows, dim=1)


def _softmax_over_space(scores: torch.Tensor) -> torch.Tensor:
    """Turn scores (B, 1, *spatial) into weights (B, 1, N) in float32, which sum to 1 over the N voxels."""
    return torch.softmax(scores.float().flatten(2), dim=2)
