"""Plans that follow a published system: spacing, patch, network, schedule and branch of a paper as nnU-Net plans."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_multitask.config import PLANS_KEY
from nnunet_multitask.errors import InputError

CONFIGURATION = "3d_fullres"  # the only one that plans of a recipe hold


@dataclass(frozen=True)
class Recipe:
    """What a paper says of its system, in the terms of the plans.

    The whole scan is one patch: in-plane it is resampled so that the widest training scan fills the patch; along z to
    ``slice_spacing_mm``, and what is missing to the patch's depth is padded.

    Attributes:
        source: the paper.
        trainers: the trainers made for such plans, the paper's own system first.
        slice_spacing_mm: spacing along z.
        patch_size: voxels along z, y and x.
        batch_size: scans in a step of the optimizer.
        features: channels of the encoder's stages, finest first; each stage but the first halves every axis.
        training_share: share of the training scans that one fold trains on; an epoch is one pass over these.
        schedule: settings of ``ScheduleConfig``, without the iterations.
        config: settings of ``MultiTaskConfig``.
    """

    source: str
    trainers: Sequence[str]
    slice_spacing_mm: float
    patch_size: Sequence[int]
    batch_size: int
    features: Sequence[int]
    training_share: float
    schedule: Mapping[str, Any]
    config: Mapping[str, Any]


_XIAO_2025: dict[str, Any] = {
    "source": "Xiao, Lai, Liang 2025",
    "trainers": ("nnUNetTrainerMultiTask_Xiao2025", "nnUNetTrainerResNet3D"),
    "slice_spacing_mm": 5.0,
    "patch_size": (128, 128, 128),
    "features": (16, 48, 96, 192, 384),
    "training_share": 0.8,  # 160 of 200 scans; 40 validate, which is a fold of five
}

RECIPES: Mapping[str, Recipe] = {
    "xiao2025": Recipe(
        **_XIAO_2025,
        batch_size=16,
        schedule={
            "epochs": 300,
            "optimizer": "adam",
            "learning_rate": 5e-4,
            "weight_decay": 1e-4,
            "decay": "cosine_restarts",
            "restart_epochs": 50,
            "restart_factor": 1,
            "early_stopping_patience": 50,
            "micro_batch_size": 2,
            "foreground_oversampling": 0.0,  # the patch is the whole scan: centred on a lesion it would be cut
            "mirroring": False,
            "rotation": "axial",
        },
        config={
            "fusion_channels": 64,
            "dropout": 0.6,
            "classification_weight": 1.0,
            "head_rate_factor": 1.0,
            "class_weights": "balanced",
            "empty_patch_weight": 1.0,  # the patch shows the whole scan, and so whatever its label is about
            "aggregation": "mean",
        },
    ),
    "xiao2025-released": Recipe(
        **_XIAO_2025,
        batch_size=8,
        schedule={
            "epochs": 300,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "decay": "cosine",
            "micro_batch_size": 2,
            "foreground_oversampling": 0.0,
            "mirroring": False,
            "rotation": "axial",
        },
        config={
            "detach_features": True,
            "dropout": 0.6,
            "classification_weight": 1.0,
            "learning_rate_factor": 0.05,  # 5e-5 beside 1e-3
            "head_rate_factor": 1.0,
            "class_weights": "none",
            "label_smoothing": 0.1,
            "empty_patch_weight": 1.0,
            "aggregation": "mean",
        },
    ),
}


def recipe_plans(
    plans: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    recipe_name: str,
    name: str,
    *,
    patch_size: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Return plans of a recipe for the dataset of ``plans``.

    Reader, normalisation and ways of resampling stay nnU-Net's. The scans have to be preprocessed anew, into a folder
    called by the new plans.

    Args:
        plans: nnU-Net's plans of the dataset, with 3d_fullres.
        fingerprint: nnU-Net's ``dataset_fingerprint.json``.
        recipe_name: a key of ``RECIPES``.
        name: name of the new plans.
        patch_size: another patch than the recipe's, (z, y, x); the spacing follows it, in-plane.
        batch_size: another batch than the recipe's; the iterations of an epoch follow it.

    Raises:
        InputError: the plans have no 3d_fullres, the recipe is not known, or the patch is none of three dimensions.
    """
    where = f"plans {plans['plans_name']}"
    if recipe_name not in RECIPES:
        known = ", ".join(RECIPES)
        raise InputError("unknown-recipe", where, f"expected one of {known}, got {recipe_name!r}", "name one of these")
    if CONFIGURATION not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        fault = f"expected {CONFIGURATION}, which the recipe changes, got {known}"
        raise InputError("missing-configuration", where, fault, "choose plans of three-dimensional scans with --from")
    recipe = RECIPES[recipe_name]
    patch = list(patch_size or recipe.patch_size)
    if len(patch) != 3 or min(patch) < 1:
        fault = f"expected three numbers above 0, got {'x'.join(map(str, patch))}"
        raise InputError("bad-patch-size", f"recipe {recipe_name}", fault, "correct --patch-size")
    batch = batch_size or recipe.batch_size
    spacing_mm = in_plane_spacing_mm(fingerprint, patch)
    new = {key: copy.deepcopy(value) for key, value in plans.items() if key not in ("configurations", PLANS_KEY)}
    for key in ("original_median_spacing_after_transp", "original_median_shape_after_transp"):
        new[key] = [plans[key][axis] for axis in plans["transpose_backward"]]
    new |= {"plans_name": name, "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}  # z stays first
    settings = copy.deepcopy(plans["configurations"][CONFIGURATION])
    settings |= {
        "data_identifier": f"{name}_{CONFIGURATION}",
        "spacing": [recipe.slice_spacing_mm, spacing_mm, spacing_mm],
        "patch_size": patch,
        "batch_size": batch,
        "batch_dice": False,
        "architecture": architecture(recipe.features),
    }
    settings["median_image_size_in_voxels"] = _median_size(fingerprint, settings["spacing"])
    new["configurations"] = {CONFIGURATION: settings}
    scans = len(fingerprint["spacings"])
    training = round(scans * recipe.training_share)
    passes = {
        "iterations": max(round(training / batch), 1),
        "val_iterations": max(math.ceil((scans - training) / batch), 1),
    }
    new[PLANS_KEY] = {
        "recipe": recipe_name,
        "config": dict(recipe.config),
        "schedule": {**recipe.schedule, **passes},
    }
    return new


def in_plane_spacing_mm(fingerprint: Mapping[str, Any], patch_size: Sequence[int]) -> float:
    """Return the spacing at which the widest training scan just fits into a patch, in-plane.

    Args:
        fingerprint: nnU-Net's fingerprint: shapes after cropping and spacings, both (z, y, x).
        patch_size: voxels along z, y and x.
    """
    return max(shape[i] * spacing[i] / patch_size[i] for shape, spacing in _scans(fingerprint) for i in (1, 2))


def _median_size(fingerprint: Mapping[str, Any], spacing: Sequence[float]) -> list[float]:
    """Return the median size of the resampled scans in voxels; nnU-Net's planner keeps it in its plans."""
    scans = _scans(fingerprint)
    return [statistics.median(round(shape[i] * old[i] / spacing[i]) for shape, old in scans) for i in range(3)]


def _scans(fingerprint: Mapping[str, Any]) -> list[tuple[Sequence[int], Sequence[float]]]:
    return list(zip(fingerprint["shapes_after_crop"], fingerprint["spacings"], strict=True))


def architecture(features: Sequence[int]) -> dict[str, Any]:
    """Return the network of nnU-Net's plans: one residual block a stage, as the released code has, and its decoder."""
    stages = len(features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_blocks_per_stage": [1] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
