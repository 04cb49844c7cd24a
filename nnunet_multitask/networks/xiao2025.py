"""The joint network of Xiao, Lai and Liang 2025: encoder scales fused under attention feed a classification decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.gradient_probe import fork
from nnunet_multitask.networks.heads import ClassificationHeads


class Xiao2025Network(nn.Module):
    """A U-Net whose encoder also feeds the paper's classification branch.

    Keeps the contract of ``MultiTaskUNet``: ``forward(x)`` gives the segmentation alone, from unfused features;
    ``forward(x, classify=True)`` the class logits too. Of the settings of the branch it takes ``dropout``,
    ``detach_features`` and, for the paper's fusion, ``fusion_channels``.

    Args:
        unet: three-dimensional network of the plans, with ``.encoder`` and ``.decoder``.
        num_outputs: for each target the number of its logits.
        config: settings of the branch.
        released: the branch of the released code (``ReleasedBranch``) instead of the paper's (``FusedScales``).
    """

    def __init__(
        self, unet: nn.Module, num_outputs: Mapping[str, int], config: MultiTaskConfig, *, released: bool = False
    ) -> None:
        super().__init__()
        encoder: Any = unet.encoder
        decoder: Any = unet.decoder
        self.encoder: nn.Module = encoder
        self.decoder: nn.Module = decoder
        if not decoder.deep_supervision:
            # the outputs of the coarser scales, which nnU-Net keeps: several GPUs wait for every gradient
            decoder.seg_layers[:-1].requires_grad_(False)
        self.detach_features = config.detach_features
        channels: Sequence[int] = encoder.output_channels
        self.fusion: FusedScales | ReleasedBranch = (
            ReleasedBranch(channels[-1], config.dropout) if released else FusedScales(channels, config.fusion_channels)
        )
        # the released code drops features out in front of its hidden layer instead
        self.heads = ClassificationHeads(self.fusion.output_channels, num_outputs, 0.0 if released else config.dropout)

    def forward(
        self, x: torch.Tensor, classify: bool = False, probe: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor | list[torch.Tensor], dict[str, torch.Tensor]]:
        """Segment a volume (B, C, Z, Y, X), and classify it where asked to; ``probe`` as in ``MultiTaskUNet``.

        Returns:
            Segmentation logits (B, K, Z, Y, X), a list of them under deep supervision; with ``classify`` a pair of
            that and the logits of each target, (B, outputs).
        """
        features = shared = self.encoder(x)
        if probe is not None:
            last, also_last = fork(features[-1], probe)
            features, shared = [*features[:-1], last], [*features[:-1], also_last]
        segmentation = self.decoder(features)
        if not classify:
            return segmentation
        if self.detach_features:
            shared = [stage.detach() for stage in shared]
        return segmentation, self.heads(self.fusion(shared))


class FusedScales(nn.Module):
    """Fuses all encoder stages into maps, refines these by channel and spatial attention, and decodes a vector.

    The paper names these parts and none of their details. Chosen here: every stage is projected to a common width
    and averaged down to the grid of the coarsest; the maps are concatenated and mixed by a 1x1x1 convolution; the
    attention is CBAM (Woo et al. 2018, eq. 1 to 3); the decoder is two convolutions of stride 2, of whose maps it
    takes mean and maximum. Group instead of instance normalisation, since that would fix the mean of every map.

    Args:
        stage_channels: channels of the encoder's stages, finest first.
        channels: width D of the fused maps.
    """

    def __init__(self, stage_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.output_channels = 2 * channels
        self.projections = nn.ModuleList(_conv(width, channels, kernel_size=1) for width in stage_channels)
        self.mix = _conv(channels * len(stage_channels), channels, kernel_size=1)
        self.channel_attention = ChannelAttention(channels)
        self.spatial_attention = SpatialAttention()
        self.decoder = nn.Sequential(*(_conv(channels, channels, kernel_size=3, stride=2) for _ in range(2)))

    def fused_maps(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the fused maps after attention, (B, D, *grid of the coarsest stage)."""
        grid: Any = features[-1].shape[2:]
        # averaged first: the projection of the finest stage would else be as large as the patch
        small = [functional.adaptive_avg_pool3d(stage, grid) for stage in features]
        maps = [projection(stage) for projection, stage in zip(self.projections, small, strict=True)]
        fused: torch.Tensor = self.mix(torch.cat(maps, dim=1))
        fused = fused * self.channel_attention(fused)
        return fused * self.spatial_attention(fused)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map the encoder's stages, each (B, C_s, *spatial_s), to a vector (B, 2 * D)."""
        decoded = self.decoder(self.fused_maps(features)).flatten(2)
        return torch.cat((decoded.mean(dim=2), decoded.amax(dim=2)), dim=1)


class ChannelAttention(nn.Module):
    """Weight of each channel from its mean and maximum over space (Woo et al. 2018, eq. 2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(channels // reduction, 1)
        self.layers = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return weights between 0 and 1, (B, C, 1, 1, 1), of maps (B, C, Z, Y, X)."""
        flat = x.flatten(2)
        scores = self.layers(flat.mean(dim=2)) + self.layers(flat.amax(dim=2))
        return torch.sigmoid(scores)[:, :, None, None, None]


class SpatialAttention(nn.Module):
    """Weight of each place from mean and maximum over the channels there (Woo et al. 2018, eq. 3)."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return weights between 0 and 1, (B, 1, Z, Y, X), of maps (B, C, Z, Y, X)."""
        return torch.sigmoid(self.conv(torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)))


class ReleasedBranch(nn.Module):
    """The classifier of the released code: the last stage at two pooling scales, with channel attention only.

    At each scale a residual block and a squeeze and excitation (Hu et al. 2018, eq. 2 to 4, reduction 16); both
    flattened, concatenated and mapped to a hidden layer.

    Args:
        channels: channels of the encoder's last stage.
        dropout: dropout probability in the residual blocks and in front of the hidden layer.
        hidden: width of the hidden layer.
        scales: edge lengths to which the stage is pooled.
    """

    def __init__(self, channels: int, dropout: float, hidden: int = 64, scales: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.output_channels = hidden
        self.scales = tuple(scales)
        self.blocks = nn.ModuleList(_ResidualBlock(channels, dropout) for _ in scales)
        self.gates = nn.ModuleList(_SqueezeExcitation(channels) for _ in scales)
        self.hidden = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels * sum(scale**3 for scale in scales), hidden),
            nn.GroupNorm(_groups(hidden, 32), hidden),
            nn.SiLU(),
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map the encoder's stages to a vector (B, hidden); only the last one is looked at."""
        vectors = []
        for scale, block, gate in zip(self.scales, self.blocks, self.gates, strict=True):
            maps = block(functional.adaptive_avg_pool3d(features[-1], scale))
            vectors.append((maps * gate(maps)).flatten(1))
        vector: torch.Tensor = self.hidden(torch.cat(vectors, dim=1))
        return vector


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.Conv3d(channels, channels, kernel_size=3, padding=1, bias=False),
                nn.GroupNorm(_groups(channels, 32), channels),
                nn.SiLU(),
                nn.Dropout3d(dropout),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(x + self.layers(x))


class _SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(channels // reduction, 1)
        self.layers = nn.Sequential(nn.Linear(channels, squeezed), nn.SiLU(), nn.Linear(squeezed, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(x.flatten(2).mean(dim=2)))[:, :, None, None, None]


def _conv(input_channels: int, output_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(input_channels, output_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.GroupNorm(_groups(output_channels, 8), output_channels),
        nn.LeakyReLU(),
    )


def _groups(channels: int, most: int) -> int:
    """Return the largest number of groups, ``most`` at most and of two channels at least, that divides the channels."""
    return next(groups for groups in range(max(min(most, channels // 2), 1), 0, -1) if channels % groups == 0)
