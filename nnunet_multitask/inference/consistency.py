"""Whether checkpoints belong together, to their model folder, and to the network that it describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_multitask.config import PLANS_KEY, config_from_plans
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.model import check_same_targets, targets_of_plans

# of the plans and their configuration: what decides which numbers a network sees, and what it is
_OF_PLANS = ("transpose_forward", "transpose_backward", "foreground_intensity_properties_per_channel")
_OF_CONFIGURATION = ("spacing", "patch_size", "normalization_schemes", "use_mask_for_norm", "architecture")
_LONGEST = 60  # characters of a value in an error

Checkpoints = Mapping[str, Mapping[str, Any]]


def check_same_model(folder: Path, checkpoints: Checkpoints, files: Mapping[str, Path]) -> None:
    """Refuse checkpoints of different models, or of another one than the folder describes.

    Compared are with the first checkpoint the trainer, the configuration and what of the plans a network depends on;
    and with the folder the targets, input channels and values of the labels. Epochs, batch size, losses and names of
    labels may differ.

    Args:
        folder: with ``plans.json`` and ``dataset.json``.
        checkpoints: by fold.
        files: their files, for the error.

    Raises:
        InputError: a checkpoint has only weights, or differs; the first difference is shown.
    """
    for fold, checkpoint in checkpoints.items():
        _check_complete(checkpoint, files[fold])
    plans = read_json(folder / "plans.json")
    if plans.get(PLANS_KEY, {}).get("targets"):
        targets = targets_of_plans(plans, folder / "plans.json")
        check_same_targets(folder, targets, {fold: found["init_args"]["plans"] for fold, found in checkpoints.items()})
    first = next(iter(checkpoints))
    expected = dict(_described(checkpoints[first]))
    for fold, checkpoint in checkpoints.items():
        found = dict(_described(checkpoint))
        for key in {**expected, **found}:
            if found.get(key) != expected.get(key):
                raise InputError(
                    "mixed-folds",
                    files[fold],
                    f"expected {key} {_shown(expected.get(key))} as in fold {first}, got {_shown(found.get(key))}",
                    "predict with -f the folds of one model, or train them anew with the same trainer and plans",
                )
    _check_same_dataset(folder / "dataset.json", checkpoints, files)


def check_weights(weights: Mapping[str, torch.Tensor], network: nn.Module, where: str | Path) -> None:
    """Refuse weights of another network.

    Args:
        weights: of the checkpoint, by name.
        network: that is to take them.
        where: file of the checkpoint.

    Raises:
        InputError: a name or a shape differs; the first one is named.
    """
    state = network.state_dict()
    for name, value in state.items():
        if name not in weights:
            raise _other_network(where, f"without {name}")
        if weights[name].shape != value.shape:
            shapes = f"{tuple(weights[name].shape)}, not {tuple(value.shape)}"
            raise _other_network(where, f"in which {name} has the shape {shapes}")
    extra = next((name for name in weights if name not in state), None)
    if extra is not None:
        raise _other_network(where, f"with {extra}")


@contextmanager
def loading_weights(where: str | Path) -> Iterator[None]:
    """Say which file has weights that do not fit, where ``load_state_dict`` refuses them in the block.

    Args:
        where: the checkpoint, or the folder of several.

    Raises:
        InputError: they are of another network; the first difference is shown.
    """
    try:
        yield
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise _other_network(where, f"by torch: {first[:200]}") from error


def _other_network(where: str | Path, difference: str) -> InputError:
    return InputError(
        "other-network",
        where,
        f"expected the weights of the network that plans.json describes, got those of another one, {difference}",
        "take plans.json and checkpoints of one training; where they are, the version of nnunet-multitask that trained",
    )


def _check_complete(checkpoint: Mapping[str, Any], file: Path) -> None:
    lacking = [key for key in ("trainer_name", "init_args") if key not in checkpoint]
    if lacking:
        fault = f"expected the checkpoint of a training, got one without {' and '.join(lacking)}"
        raise InputError("incomplete-checkpoint", file, fault, "take one that nnU-Net wrote at the end of a training")


def _described(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what the folds of one model have in common, by a name for the error."""
    arguments = checkpoint["init_args"]
    plans, name = arguments["plans"], arguments["configuration"]
    yield "the trainer", checkpoint["trainer_name"]
    yield "the configuration", name
    configuration = PlansManager(plans).get_configuration(name).configuration
    for source, keys in ((plans, _OF_PLANS), (configuration, _OF_CONFIGURATION)):
        for key in keys:
            yield from _leaves(key, source.get(key))
    yield "pooling", config_from_plans(plans).pooling
    yield "mirroring axes", checkpoint.get("inference_allowed_mirroring_axes")


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def _check_same_dataset(path: Path, checkpoints: Checkpoints, files: Mapping[str, Path]) -> None:
    """Refuse checkpoints that were trained with other input channels or other values of labels."""
    dataset_json = read_json(path)
    for fold, checkpoint in checkpoints.items():
        theirs = checkpoint["init_args"].get("dataset_json")
        if theirs is None:
            continue
        for what, ours_of, theirs_of in (
            ("input channels", dataset_json["channel_names"], theirs["channel_names"]),
            ("labels", dataset_json["labels"], theirs["labels"]),
        ):
            same = len(ours_of) == len(theirs_of) and (
                what != "labels" or sorted(map(str, ours_of.values())) == sorted(map(str, theirs_of.values()))
            )
            if not same:
                raise InputError(
                    "other-dataset",
                    files[fold],
                    f"expected the {what} of {path.name}, {_shown(ours_of)}, got {_shown(theirs_of)}",
                    "take dataset.json and checkpoints of one training",
                )


def _shown(value: Any) -> str:
    text = ", ".join(f"{key}: {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
