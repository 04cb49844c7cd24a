"""Fusion of all encoder stages into one vector: spatial attention, channel attention, learned stage weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from nnunet_multitask.networks.pooling import (
    AttendedPooling,
    attention_over_voxels,
    average_pooling,
    foreground_of_stages,
    guide_weights,
)
from nnunet_multitask.networks.standardization import RunningStandardization


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
        self.attention: Any = None  # a convolution for each stage
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
        with torch.autocast(features[0].device.type, enabled=False):
            return [
                attention_over_voxels(stage, score.weight).view(stage.shape[0], 1, *stage.shape[2:])
                for score, stage in zip(self.attention, features, strict=True)
            ]

    def guidance_maps(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None) -> list[torch.Tensor]:
        """Return the weight of each voxel of each stage under the foreground, (B, 1, *spatial), which sums to 1.

        Empty unless pooling is ``guided``.

        Raises:
            ValueError: pooling is ``guided`` and there is no foreground.
        """
        if not self.guided:
            return []
        if foreground is None:
            raise ValueError("expected the foreground probability, which guided pooling needs; got None")
        levels = foreground_of_stages(foreground.float(), [stage.shape[2:] for stage in features])
        return [guide_weights(level).view(level.shape) for level in levels]

    def channel_gate(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the channel attention multiplies the D projected channels by, (B, D), 0 to 2.

        Arguments as those of ``forward``.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            return self._gate(self._projected(features, foreground))

    def forward(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None = None) -> torch.Tensor:
        """Fuse the stages.

        Args:
            features: the encoder's stages, each (B, C_s, *spatial_s), finest first.
            foreground: probability of foreground, (B, 1, *spatial_0); needed where pooling is ``guided``.

        Returns:
            The fused vector, (B, output_channels), in float32.

        Raises:
            ValueError: pooling is ``guided`` and there is no foreground.
        """
        # half precision cannot hold the weight of one voxel among a hundred thousand
        with torch.autocast(features[0].device.type, enabled=False):
            stages = self._projected(features, foreground)
            weighted = (stages * self.stage_weights()[None, :, None, None]).sum(dim=1)  # (B, P, D)
            vector = (weighted * self._gate(stages)[:, None]).flatten(1)
            if foreground is not None and self.guided:
                share = foreground.float().flatten(1).mean(dim=1, keepdim=True)
                # lesions fill 1e-5 to 1e-1 of a patch, hence the logarithm; by how much differs between data sets
                vector = torch.cat((vector, self.share_scale(torch.log10(share + 1e-5))), dim=1)
        return vector

    def _projected(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None) -> torch.Tensor:
        """Pool every stage in the P ways and project the results to the common width; return (B, S, P, D)."""
        pooled = self._pooled(features, foreground)
        return torch.stack([project(each) for project, each in zip(self.projections, pooled, strict=True)], dim=1)

    def _pooled(self, features: Sequence[torch.Tensor], foreground: torch.Tensor | None) -> list[torch.Tensor]:
        """Return each stage's P vectors, (B, P, C_s)."""
        if self.attention is None:
            return [average_pooling(stage) for stage in features]
        guides: Sequence[torch.Tensor | None] = [None] * len(features)
        if self.guided:
            guides = [guide.flatten(2) for guide in self.guidance_maps(features, foreground)]
        return [
            AttendedPooling.apply(stage, score.weight, score.bias, guide)
            for stage, score, guide in zip(features, self.attention, guides, strict=True)
        ]

    def _gate(self, stages: torch.Tensor) -> torch.Tensor:
        """Return the channel attention (B, D) of projected stages (B, S, P, D)."""
        # about 1 at first: a gate that halves the signal delays learning. The weights of the stages sum to 1: a branch
        # with several times the signal pulls at the encoder and costs segmentation
        gate: torch.Tensor = 2 * self.channel_attention(stages.mean(dim=(1, 2)))
        return gate
