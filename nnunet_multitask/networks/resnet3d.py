"""ResNet3D-18: a network that classifies volumes and segments nothing, the classification baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nnunet_multitask.networks.heads import ClassificationHeads

_SURE = 10.0  # logit of background, which is the class of every voxel


class ResNet3D(nn.Module):
    """ResNet-18 with 3x3x3 convolutions (Hara et al. 2018), in the form in which nnU-Net can hold it.

    ``forward(x)`` gives logits that say background everywhere, so that nnU-Net's validation and export work on it:
    their masks are empty. ``forward(x, classify=True)`` gives these and the class logits. ``encoder`` is the ResNet;
    ``decoder`` has no parameters, and nnU-Net's switch of deep supervision.

    Args:
        input_channels: channels of the images.
        num_segmentation_heads: channels of the segmentation that nnU-Net expects.
        num_outputs: for each target the number of its logits.
        has_regions: the segmentation channels are overlapping regions, without one for the background.
    """

    segments = False  # its masks say nothing

    def __init__(
        self,
        input_channels: int,
        num_segmentation_heads: int,
        num_outputs: Mapping[str, int],
        *,
        has_regions: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = _resnet18(input_channels)
        self.heads = ClassificationHeads(512, num_outputs, dropout=0.0)
        self.decoder = _EmptyMasks(num_segmentation_heads, has_regions)

    def forward(
        self, x: torch.Tensor, classify: bool = False, probe: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return background logits (B, K, Z, Y, X) of a volume (B, C, Z, Y, X), and with ``classify`` class logits.

        The gradient of ``probe``, where there is one, becomes zero: no other task meets the classification.
        """
        segmentation: torch.Tensor = self.decoder(x)
        if not classify:
            return segmentation
        features = self.encoder(x)
        if probe is not None:
            features = features + 0 * probe.sum()
        return segmentation, self.heads(features)


class _EmptyMasks(nn.Module):
    def __init__(self, num_segmentation_heads: int, has_regions: bool) -> None:
        super().__init__()
        self.deep_supervision = False
        self.num_segmentation_heads = num_segmentation_heads
        self.has_regions = has_regions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = x.new_full((x.shape[0], self.num_segmentation_heads, *x.shape[2:]), -_SURE)
        if not self.has_regions:
            logits[:, 0] = _SURE
        return logits


def _resnet18(input_channels: int) -> Any:
    """Return torchvision's 3D ResNet-18 without weights and last layer.

    The stem, a quarter of each axis, is that of the released baseline of Xiao et al. 2025; Hara et al. halve the first
    axis once only.
    """
    # here, since a torchvision that does not fit torch must not keep the other trainers from being found
    from torchvision.models.video.resnet import BasicBlock, Conv3DSimple, VideoResNet

    def stem() -> nn.Module:
        return nn.Sequential(
            nn.Conv3d(input_channels, 64, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
        )

    resnet: Any = VideoResNet(BasicBlock, [Conv3DSimple] * 4, [2, 2, 2, 2], stem)
    resnet.fc = nn.Identity()
    return resnet
