"""New plans from old ones: another network width, patch, batch, schedule or branch on the same preprocessed data."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_multitask.config import PLANS_KEY, MultiTaskConfig, ScheduleConfig, block_of, check_together, settings_from
from nnunet_multitask.errors import InputError

# a stage's setting stands once for each stage, in one of these lists of the architecture
_PER_STAGE = ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")
_PER_DECODER_STAGE = "n_conv_per_stage_decoder"


def derive_plans(
    plans: Mapping[str, Any],
    name: str,
    configuration: str,
    *,
    features: Sequence[int] | None = None,
    patch_size: Sequence[int] | None = None,
    batch_size: int | None = None,
    config: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return plans under a new name that differ from ``plans`` in what is given, and share the preprocessed data.

    Args:
        plans: nnU-Net's plans.
        name: name of the new plans.
        configuration: the configuration to change; the others stay as they are.
        features: channels of the encoder's stages; fewer than before drop the coarsest stages.
        patch_size: voxels along each axis, in the plans' order of axes.
        batch_size: patches in a batch.
        config: settings of the branch, see ``MultiTaskConfig``.
        schedule: settings of the schedule, see ``ScheduleConfig``.

    Raises:
        InputError: the configuration is unknown or inherits another one, the values do not fit each other, or the block
            of the plans has another form.
    """
    where = f"plans {plans['plans_name']}, {configuration}"
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise InputError("missing-configuration", where, f"expected one of {known}, got {configuration!r}", "name one")
    new = copy.deepcopy(dict(plans))
    new["plans_name"] = name
    settings = new["configurations"][configuration]
    if "architecture" not in settings:
        raise InputError(
            "inherited-configuration",
            where,
            f"expected a network of its own, got one inherited from {settings.get('inherits_from')}",
            f"configure {settings.get('inherits_from')} instead",
        )
    architecture = settings["architecture"]["arch_kwargs"]
    if features is not None:
        _set_features(architecture, features, where)
    if patch_size is not None:
        if len(patch_size) != len(settings["patch_size"]):
            dimensions = len(settings["patch_size"])
            fault = f"expected {dimensions} numbers, got {len(patch_size)}"
            raise InputError("bad-patch-size", where, fault, f"give {dimensions} numbers to --patch-size")
        settings["patch_size"] = list(patch_size)
    if batch_size is not None:
        if batch_size < 1:
            raise InputError("bad-batch-size", where, f"expected 1 or more, got {batch_size}", "correct --batch-size")
        settings["batch_size"] = batch_size
    _check_patch(settings["patch_size"], architecture["strides"], where)
    block = dict(block_of(plans))  # the old plans are at fault where it has another form
    block["config"] = {**block.get("config", {}), **(config or {})}
    block["schedule"] = {**block.get("schedule", {}), **(schedule or {})}
    where = f"plans {name}"
    branch = settings_from(MultiTaskConfig(), block["config"], f"{where}, config")  # refuses what does not fit
    check_together(branch, settings_from(ScheduleConfig(), block["schedule"], f"{where}, schedule"), where)
    new[PLANS_KEY] = block
    return new


def _set_features(architecture: dict[str, Any], features: Sequence[int], where: str) -> None:
    stages = architecture["n_stages"]
    # with fewer than three, nnU-Net's deep supervision divides by zero and the loss is NaN
    if not 3 <= len(features) <= stages or min(features) < 1:
        raise InputError(
            "bad-features",
            where,
            f"expected 3 to {stages} positive numbers, one for each stage, got {', '.join(map(str, features))}",
            "give other numbers to --features",
        )
    architecture["n_stages"] = len(features)
    architecture["features_per_stage"] = list(features)
    for key in _PER_STAGE:
        if isinstance(architecture.get(key), list):
            architecture[key] = architecture[key][: len(features)]
    if isinstance(architecture.get(_PER_DECODER_STAGE), list):
        # the decoder's list runs from coarse to fine
        architecture[_PER_DECODER_STAGE] = architecture[_PER_DECODER_STAGE][-(len(features) - 1) :]


def _check_patch(patch_size: Sequence[int], strides: Sequence[Sequence[int]], where: str) -> None:
    """Refuse a patch that the network's strides do not divide, or that shrinks to one voxel."""
    factors = [math.prod(stage[axis] for stage in strides) for axis in range(len(patch_size))]
    fitting = [max(round(size / factor), 1) * factor for size, factor in zip(patch_size, factors, strict=True)]
    if list(patch_size) != fitting:
        raise InputError(
            "bad-patch-size",
            where,
            f"expected multiples of {_joined(factors)}, which the strides ask for, got {_joined(patch_size)}",
            f"use --patch-size {_joined(fitting, ',')}",
        )
    if list(patch_size) == factors:
        raise InputError(
            "bad-patch-size",
            where,
            "expected more than one voxel at the coarsest stage, got one",
            "use a larger patch, or fewer stages with --features",
        )


def _joined(numbers: Sequence[int], separator: str = "x") -> str:
    return separator.join(map(str, numbers))
