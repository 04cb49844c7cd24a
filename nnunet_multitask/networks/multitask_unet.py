"""The network: the U-Net that the plans describe, with attention fusion and classification heads on its encoder."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.networks.attention_fusion import AttentionFusion
from nnunet_multitask.networks.gradient_probe import fork
from nnunet_multitask.networks.heads import ClassificationHeads


@dataclass(frozen=True)
class Explanation:
    """What a network saw and how it weighed it, from one forward pass.

    Attributes:
        segmentation: logits (B, K, *spatial), or a list of them from fine to coarse under deep supervision.
        logits: of each target, (B, outputs).
        attention: learned attention over the voxels of each stage, finest first, (B, 1, *spatial of the stage) in
            float32; sums to 1. Empty where pooling is ``average``.
        guidance: the same of the network's own foreground. Empty unless pooling is ``guided``.
        stage_weights: what each stage counts, (S,), finest first; sums to 1.
        channel_gate: what the channel attention multiplies the fused channels by, (B, D), 0 to 2.
    """

    segmentation: torch.Tensor | list[torch.Tensor]
    logits: dict[str, torch.Tensor]
    attention: tuple[torch.Tensor, ...]
    guidance: tuple[torch.Tensor, ...]
    stage_weights: torch.Tensor
    channel_gate: torch.Tensor


class MultiTaskUNet(nn.Module):
    """A U-Net with a classification branch; encoder and decoder keep nnU-Net's parameter names.

    ``forward(x)`` gives the segmentation logits exactly as the U-Net would, so that every stock command works on the
    checkpoint; ``forward(x, classify=True)`` gives segmentation and class logits from the same pass.

    Args:
        unet: network of the plans, with ``.encoder`` (returning its stages, finest first) and ``.decoder``.
        num_outputs: for each target the number of its logits.
        config: settings of the branch.
        has_regions: the segmentation channels are overlapping regions (sigmoid) instead of exclusive labels (softmax).

    Raises:
        InputError: the network has no encoder and decoder of this form.
    """

    def __init__(
        self, unet: nn.Module, num_outputs: Mapping[str, int], config: MultiTaskConfig, *, has_regions: bool = False
    ) -> None:
        super().__init__()
        encoder, decoder = getattr(unet, "encoder", None), getattr(unet, "decoder", None)
        conv_op: Any = getattr(encoder, "conv_op", None)
        stage_channels: Any = getattr(encoder, "output_channels", None)
        if conv_op is None or stage_channels is None or decoder is None:
            raise _unsupported(f"plans: network {type(unet).__name__}")
        self.encoder: nn.Module = encoder  # type: ignore[assignment]
        self.decoder: nn.Module = decoder
        self.has_regions = has_regions
        self.detach_features = config.detach_features
        self.fusion = AttentionFusion(conv_op, stage_channels, config.fusion_channels, config.pooling)
        self.heads = ClassificationHeads(self.fusion.output_channels, num_outputs, config.dropout)

    def forward(
        self, x: torch.Tensor, classify: bool = False, probe: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor | list[torch.Tensor], dict[str, torch.Tensor]]:
        """Segment a patch, and classify it where asked to.

        Args:
            x: patch, (B, C, *spatial).
            classify: return the class logits too.
            probe: where to note how the gradients of decoder and branch meet in the last stage that both share, see
                ``gradient_probe.fork``.

        Returns:
            Segmentation logits (B, K, *spatial), a list of them from fine to coarse under deep supervision; with
            ``classify`` a pair of that and the logits of each target, (B, outputs).
        """
        features = shared = self.encoder(x)
        if probe is not None:
            last, also_last = fork(features[-1], probe)
            features, shared = [*features[:-1], last], [*features[:-1], also_last]
        segmentation = self.decoder(features)
        if not classify:
            return segmentation
        return segmentation, self.heads(self.fusion(*self._seen_by_branch(shared, segmentation)))

    @torch.no_grad()
    def explain(self, x: torch.Tensor) -> Explanation:
        """Segment and classify a patch, and tell what the branch attended to.

        Segmentation and logits are those of ``forward`` in the same mode (``eval`` for prediction); no gradients.

        Args:
            x: patch, (B, C, *spatial).
        """
        features = self.encoder(x)
        return self.explain_features(features, self.decoder(features))

    @torch.no_grad()
    def explain_features(
        self, features: list[torch.Tensor], segmentation: torch.Tensor | list[torch.Tensor]
    ) -> Explanation:
        """Tell what the branch attends to in a pass whose stages and segmentation logits are known already.

        Args:
            features: what the encoder gave, each (B, C_s, *spatial_s), finest first.
            segmentation: what the decoder made of them.
        """
        stages, foreground = self._seen_by_branch(features, segmentation)
        return Explanation(
            segmentation=segmentation,
            logits=self.heads(self.fusion(stages, foreground)),
            attention=tuple(self.fusion.attention_maps(stages)),
            guidance=tuple(self.fusion.guidance_maps(stages, foreground)),
            stage_weights=self.fusion.stage_weights(),
            channel_gate=self.fusion.channel_gate(stages, foreground),
        )

    def _seen_by_branch(
        self, features: list[torch.Tensor], segmentation: torch.Tensor | list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return the stages and the foreground, (B, 1, *spatial), that the fusion gets."""
        finest = segmentation[0] if isinstance(segmentation, (list, tuple)) else segmentation
        foreground = foreground_probability(finest.detach(), self.has_regions) if self.fusion.guided else None
        return [stage.detach() for stage in features] if self.detach_features else features, foreground


def check_architecture(class_name: str, where: str) -> None:
    """Refuse plans whose network cannot be built as nnU-Net builds a U-Net, before it is tried.

    Args:
        class_name: dotted name in the plans.
        where: the plans, for the error.

    Raises:
        InputError: there is a class of that name, and it has no deep supervision: Primus and other transformers.
    """
    network: Any = pydoc.locate(class_name)
    if network is not None and "deep_supervision" not in inspect.signature(network).parameters:
        raise _unsupported(f"{where}: network {class_name.rpartition('.')[2]}")


def foreground_probability(logits: torch.Tensor, has_regions: bool) -> torch.Tensor:
    """Turn segmentation logits (B, K, *spatial) into the probability of any foreground, (B, 1, *spatial), float32.

    With exclusive labels it is one minus the softmax of the background channel; with regions the largest sigmoid.
    """
    if has_regions:
        return torch.sigmoid(logits.float()).amax(dim=1, keepdim=True)
    return 1 - torch.softmax(logits.float(), dim=1)[:, :1]


def _unsupported(where: str) -> InputError:
    return InputError(
        "unsupported-network",
        where,
        "expected a convolutional encoder of several stages and a decoder, which the branch reads from; got neither",
        "use plans with PlainConvUNet or ResidualEncoderUNet, for example those of nnUNetPlannerResEncM",
    )
