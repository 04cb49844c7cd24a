"""Weights of a trained network, stock or multi-task, as the start of a multi-task training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_multitask.config import PLANS_KEY, schedule_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.training.multitask import MultiTaskMixin
from nnunet_multitask.training.plans_block import branch_block
from nnunet_multitask.training.resuming import seed_of_epoch

Weights = Mapping[str, torch.Tensor]
BRANCH = ("fusion.", "heads.")
SEGMENTATION_LAYERS = ".seg_layers."  # nnU-Net's -pretrained_weights never takes these


@dataclass(frozen=True)
class Transfer:
    """What became of the weights of a checkpoint; a weight that two parts of the network share counts once.

    Attributes:
        weights: all weights of the new network, by name.
        taken: names of those that come from the checkpoint.
        input_layer: name, shape in the checkpoint and shape in the network of the first convolution, where the number
            of input channels differs; it starts afresh. None where it was taken.
        segmentation_layers: names of the layers that make the segmentation's channels; they start afresh.
        branch: names of the weights of fusion and heads; they start afresh.
        left: names in the checkpoint of which nothing was needed: a branch of its own.
    """

    weights: dict[str, torch.Tensor]
    taken: tuple[str, ...]
    input_layer: tuple[str, tuple[int, ...], tuple[int, ...]] | None
    segmentation_layers: tuple[str, ...]
    branch: tuple[str, ...]
    left: tuple[str, ...]


def initial_network(
    trainer: Any,
    plans: Mapping[str, Any],
    configuration: str,
    dataset_json: Mapping[str, Any],
    sidecar: LabelSidecar,
) -> nn.Module:
    """Return the network as the trainer would make it, from the seed of its schedule.

    Args:
        trainer: class of the trainer.
        plans: of the dataset; left as they are.
        configuration: name of the configuration.
        dataset_json: of the dataset.
        sidecar: class labels of the dataset.

    Raises:
        InputError: the trainer has no branch, or the plans do not fit it.
    """
    if not (isinstance(trainer, type) and issubclass(trainer, MultiTaskMixin)):
        raise InputError(
            "no-multitask-trainer",
            f"-tr {getattr(trainer, '__name__', trainer)}",
            "expected a trainer with the classification branch, got one without",
            "name nnUNetTrainerMultiTask; other trainers take stock checkpoints by -pretrained_weights as they are",
        )
    own: dict[str, Any] = copy.deepcopy(dict(plans))
    manager = PlansManager(own)
    labels = manager.get_label_manager(dict(dataset_json))
    own[PLANS_KEY] = {**own.get(PLANS_KEY, {}), **branch_block(sidecar, labels.has_regions)}
    settings = manager.get_configuration(configuration)
    channels = determine_num_input_channels(manager, settings, dict(dataset_json))
    torch.manual_seed(seed_of_epoch(schedule_from_plans(own, trainer.default_schedule).seed))
    network: nn.Module = trainer.build_network_architecture(
        manager, settings, channels, labels.num_segmentation_heads, True
    )
    return network


def transfer(source: Weights, network: nn.Module, where: str | Path) -> Transfer:
    """Put the weights of encoder and decoder of a checkpoint into those of a network.

    Args:
        source: weights of the checkpoint, by name.
        network: the new network; it has the weights afterwards.
        where: file of the checkpoint, for the error.

    Raises:
        InputError: the checkpoint is of another architecture (the first weight that differs is named), or not finite.
    """
    state = network.state_dict()
    trunk = {name: value for name, value in state.items() if not name.startswith(BRANCH)}
    first = _input_layer_names(network)
    names = list(dict(network.named_parameters())) + [name for name, _ in network.named_buffers()]  # once each
    changed = {
        name for name in first if name in source and _differ_in_input_channels(source[name].shape, trunk[name].shape)
    }
    needed = {name for name in trunk if SEGMENTATION_LAYERS not in name and name not in changed}
    _check_same_architecture(source, trunk, needed, where)
    bad = next((name for name in sorted(needed) if not torch.isfinite(source[name]).all()), None)
    if bad is not None:
        raise InputError("bad-weights", where, f"expected finite weights, got NaN or infinity in {bad}", "use another")
    network.load_state_dict({name: source[name] if name in needed else value for name, value in state.items()})
    layer = next((name for name in names if name in changed), None)
    return Transfer(
        weights=network.state_dict(),  # names of one weight share its memory, in the file too
        taken=tuple(name for name in names if name in needed),
        input_layer=None if layer is None else (layer, tuple(source[layer].shape), tuple(trunk[layer].shape)),
        segmentation_layers=tuple(name for name in names if SEGMENTATION_LAYERS in name),
        branch=tuple(name for name in names if name.startswith(BRANCH)),
        left=tuple(name for name in source if name.startswith(BRANCH)),
    )


def _check_same_architecture(source: Weights, trunk: Weights, needed: set[str], where: str | Path) -> None:
    """Refuse a checkpoint whose encoder or decoder has other weights than the network."""
    lost = [name for name in trunk if name in needed and name not in source]
    other = [name for name in trunk if name in needed and name in source and source[name].shape != trunk[name].shape]
    extra = [name for name in source if name not in trunk and not name.startswith(BRANCH)]
    if not (lost or other or extra):
        return
    # the first in the order of the network says most
    first = next((name for name in trunk if name in {*lost, *other}), None)
    if first is None:
        fault = f"expected no {extra[0]}, which the network lacks"
    elif first in source:
        fault = f"expected {first} of shape {tuple(trunk[first].shape)}, got {tuple(source[first].shape)}"
    else:
        fault = f"expected {first}, which the checkpoint lacks"
    others = len(lost) + len(other) + len(extra) - 1
    raise InputError(
        "other-architecture",
        where,
        fault + (f", and {others} more weights differ" if others else ""),
        "name with -p and -c the plans and the configuration that the checkpoint was trained with, or plans of the "
        "same network moved to this dataset by nnUNetv2_move_plans_between_datasets",
    )


def _input_layer_names(network: nn.Module) -> list[str]:
    """Return the names of the convolution that sees the image: nnU-Net's layers have two or more names each."""
    encoder: Any = network.get_submodule("encoder")
    pointer = next(encoder.parameters()).data_ptr()
    return [name for name, value in network.state_dict().items() if value.data_ptr() == pointer]


def _differ_in_input_channels(ours: torch.Size, theirs: torch.Size) -> bool:
    return len(ours) == len(theirs) > 1 and ours[1] != theirs[1] and (ours[0], *ours[2:]) == (theirs[0], *theirs[2:])
