"""Grad-CAM and HiResCAM of a class at every stage of the encoder, for any of this package's networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Target


@dataclass(frozen=True)
class Traced:
    """One forward pass with what lay on the way to the class logits.

    Attributes:
        segmentation: logits (B, K, *spatial).
        logits: of each target, (B, outputs).
        stages: of the encoder, finest first, (B, C_s, *spatial_s).
        vector: what the heads got, (B, D).
    """

    segmentation: torch.Tensor
    logits: Mapping[str, torch.Tensor]
    stages: tuple[torch.Tensor, ...]
    vector: torch.Tensor


def check_explainable(network: nn.Module, where: str) -> None:
    """Refuse a network whose stages or heads cannot be found.

    Args:
        network: the network.
        where: the model, for the error.

    Raises:
        InputError: it has no encoder of several stages, or no heads.
    """
    if not _watched(network) or not isinstance(getattr(network, "heads", None), nn.Module):
        raise InputError(
            "unsupported-network",
            where,
            f"expected a network with an encoder of several stages and heads, got {type(network).__name__}",
            "explain a model trained with one of this package's trainers",
        )


def num_stages(network: nn.Module) -> int:
    """Return how many stages the encoder of a network has that `check_explainable` let pass."""
    watched = _watched(network)
    widths: Any = getattr(watched[0], "output_channels", watched)
    return len(widths)


def trace(network: nn.Module, x: torch.Tensor) -> Traced:
    """Pass a patch through a network, and keep its stages.

    A branch that is trained on detached features is attached for the pass, so that gradients reach the stages; no value
    changes by that.

    Args:
        network: in the mode in which it shall run.
        x: patch, (B, C, *spatial).
    """
    stages: list[torch.Tensor] = []
    vectors: list[torch.Tensor] = []

    def keep_stages(module: nn.Module, inputs: Any, output: Any) -> None:
        stages.extend(output if isinstance(output, (list, tuple)) else [output])

    hooks = [module.register_forward_hook(keep_stages) for module in _watched(network)]
    heads: Any = network.heads
    hooks.append(heads.register_forward_pre_hook(lambda module, inputs: vectors.append(inputs[0])))
    try:
        with _attached(network):
            segmentation, logits = network(x, classify=True)
    finally:
        for hook in hooks:
            hook.remove()
    return Traced(segmentation, logits, tuple(stages), vectors[-1])


def class_score(target: Target, class_name: str, logits: torch.Tensor) -> torch.Tensor:
    """Return the score of a class before softmax or sigmoid, (B,).

    A binary target has one logit, that of its positive class; the score of the negative class is its opposite.

    Args:
        target: the target.
        class_name: one of its classes.
        logits: of the target, (B, outputs).
    """
    index = target.classes.index(class_name)
    if target.type == "binary":
        return logits[:, 0] if index == 1 else -logits[:, 0]
    return logits[:, index]


def stage_gradients(score: torch.Tensor, stages: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the derivative of a score by each stage, (B, C_s, *spatial_s); 0 where it does not depend on the stage.

    It runs along every way from the stage to the score: through the fusion, and through the stages that follow. The
    foreground by which ``guided`` pooling weighs voxels counts as given, as in training.

    Args:
        score: (B,), computed from the stages; its graph stays, for the scores of other classes.
        stages: finest first, (B, C_s, *spatial_s).
    """
    if not score.requires_grad:
        return [torch.zeros_like(stage) for stage in stages]
    found = torch.autograd.grad(score.sum(), list(stages), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for g, s in zip(found, stages, strict=True)]


def grad_cam(stage: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return the Grad-CAM of a score at a stage (Selvaraju et al. 2017, eq. 1 and 2).

    ``alpha_c = sum_i (dy / dA_ci) / Z`` over the Z voxels i of the stage, ``L_i = max(0, sum_c alpha_c A_ci)``. The
    unit is that of the score, logits, for each voxel of the stage: were its mean taken away from every channel, the
    score would change, to first order, by the sum of ``sum_c alpha_c A_ci`` over the voxels.

    Args:
        stage: (B, C, *spatial).
        gradient: of the score by the stage, the same shape.

    Returns:
        (B, 1, *spatial) in float32, 0 or more.
    """
    alpha = gradient.flatten(2).float().mean(dim=2)
    weighted = torch.einsum("bc,bcn->bn", alpha, stage.detach().flatten(2).float())
    return functional.relu(weighted).view(len(stage), 1, *stage.shape[2:])


def hires_cam(stage: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return the HiResCAM of a score at a stage (Draelos and Carin 2020), with the ReLU of Grad-CAM.

    ``L_i = max(0, sum_c (dy / dA_ci) A_ci)``: each voxel by its own derivative, not by the channel's mean. Under
    instance normalisation and pooling by attention the mean says little of where a class is read from; the two are the
    same where the score sees a stage through its plain mean alone. Unit: logits for each voxel of the stage.

    Arguments and result as `grad_cam`.
    """
    weighted = (gradient.float() * stage.detach().float()).sum(dim=1, keepdim=True)
    return functional.relu(weighted)


METHODS = {"gradcam": grad_cam, "hirescam": hires_cam}


def _watched(network: nn.Module) -> list[nn.Module]:
    """Return the modules whose outputs are the stages: an encoder that returns all, or the layers of a ResNet."""
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        return []
    if hasattr(encoder, "output_channels"):
        return [encoder]
    return [module for name, module in encoder.named_children() if name.startswith("layer")]


@contextmanager
def _attached(network: Any) -> Iterator[None]:
    before = getattr(network, "detach_features", False)
    if before:
        network.detach_features = False
    try:
        yield
    finally:
        if before:
            network.detach_features = True
