"""A multi-task model without its branch, as a model folder that stock nnU-Net opens on any machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_multitask.config import PLANS_KEY
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.checkpoints import load_checkpoint_file, safe_loading
from nnunet_multitask.inference.consistency import check_same_model, check_weights
from nnunet_multitask.inference.model import check_model_folder, sha256_of
from nnunet_multitask.inference.safe_plans import check_layers
from nnunet_multitask.storage import atomic_directory, copy_file, writing_errors

TRAINER = nnUNetTrainer.__name__
CHECKPOINT = "checkpoint_final.pth"  # that nnUNetv2_predict opens where it is told no other
TRUNK = ("encoder.", "decoder.")
PLANS, DATASET, FINGERPRINT = "plans.json", "dataset.json", "dataset_fingerprint.json"


@dataclass(frozen=True)
class StockModel:
    """What is to be written, read and checked.

    Attributes:
        dataset, plans_name, configuration: of the model.
        documents: ``plans.json`` and ``dataset.json``, by name.
        fingerprint: ``dataset_fingerprint.json`` of the model, None where it has none.
        checkpoints: by fold.
        left: names of the weights that are left out, those of the branch.
    """

    dataset: str
    plans_name: str
    configuration: str
    documents: Mapping[str, Mapping[str, Any]]
    fingerprint: Path | None
    checkpoints: Mapping[str, Mapping[str, Any]]
    left: tuple[str, ...]

    def folder(self, results: Path) -> Path:
        """Return the model's place below a folder ``nnUNet_results``."""
        return results / self.dataset / f"{TRAINER}__{self.plans_name}__{self.configuration}"


def read_stock_model(
    folder: Path,
    folds: Sequence[int | str],
    checkpoint_name: str = CHECKPOINT,
    *,
    trust_checkpoint: bool = False,
) -> StockModel:
    """Read a multi-task model and take its branch off.

    Kept are encoder and decoder, plans without the block of this package, and the axes of mirroring; left out are
    fusion and heads, and what a training needs to go on. The weights are those of the network that stock nnU-Net builds
    from the plans, which is checked.

    Args:
        folder: the model folder.
        folds: the folds to keep.
        checkpoint_name: file in each fold's folder.
        trust_checkpoint: unpickle the checkpoints, whatever they ask for, and warn.

    Raises:
        InputError: no such model, checkpoints that are damaged, would run something or do not belong together, a
            network that stock nnU-Net does not build.
    """
    check_model_folder(folder, folds, checkpoint_name)
    files = {str(fold): folder / f"fold_{fold}" / checkpoint_name for fold in folds}
    with safe_loading(trust_checkpoint=trust_checkpoint):
        checkpoints = {fold: load_checkpoint_file(file) for fold, file in files.items()}
    check_same_model(folder, checkpoints, files)
    first = next(iter(checkpoints.values()))
    plans = {key: value for key, value in read_json(folder / PLANS).items() if key != PLANS_KEY}
    dataset_json = read_json(folder / DATASET)
    configuration = str(first["init_args"]["configuration"])
    names = (str(plans["dataset_name"]), str(plans["plans_name"]), configuration)
    for name in names:
        if Path(name).name != name:
            fault = f"expected names of dataset, plans and configuration that a folder can have, got {name!r}"
            raise InputError("bad-name", folder / PLANS, fault, "correct it")
    check_layers(plans, configuration, folder / PLANS)
    network = stock_network(plans, configuration, dataset_json)
    for fold, checkpoint in checkpoints.items():
        if not any(name.startswith(TRUNK[1]) for name in checkpoint["network_weights"]):
            fault = f"expected a model that segments, got one of {first['trainer_name']}, which only classifies"
            raise InputError("no-segmentation", files[fold], fault, "export a model with encoder and decoder")
        check_weights(_trunk(checkpoint), network, files[fold])
    return StockModel(
        *names,
        documents={PLANS: plans, DATASET: dataset_json},
        fingerprint=folder / FINGERPRINT if (folder / FINGERPRINT).is_file() else None,
        checkpoints={
            fold: _stock_checkpoint(checkpoint, plans, dataset_json, files[fold])
            for fold, checkpoint in checkpoints.items()
        },
        left=tuple(name for name in first["network_weights"] if not name.startswith(TRUNK)),
    )


def write_stock_model(model: StockModel, results: Path, *, overwrite: bool = False) -> Path:
    """Write the model folder, all or nothing, and return it.

    Args:
        model: what is written.
        results: folder in which nnU-Net looks for models, ``nnUNet_results``; made where it is missing.
        overwrite: replace the folder, once the new one is complete.

    Raises:
        InputError: the folder exists and may not be replaced, or it cannot be written.
    """
    folder = model.folder(results)
    with atomic_directory(folder, overwrite) as unfinished:
        for name, document in model.documents.items():
            write_json(unfinished / name, document)
        if model.fingerprint is not None:
            copy_file(model.fingerprint, unfinished / FINGERPRINT)
        for fold, checkpoint in model.checkpoints.items():
            place = unfinished / f"fold_{fold}"
            with writing_errors(folder):
                place.mkdir()
                torch.save(checkpoint, place / CHECKPOINT)
    return folder


def is_export(folder: Path) -> bool:
    """Return whether a folder holds what `write_stock_model` writes and nothing else, so that nobody's work is lost."""
    known = {PLANS, DATASET, FINGERPRINT}
    folds = [path for path in folder.iterdir() if path.name not in known]
    return (folder / PLANS).is_file() and all(
        path.name.startswith("fold_") and path.is_dir() and {found.name for found in path.iterdir()} == {CHECKPOINT}
        for path in folds
    )


def stock_network(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> nn.Module:
    """Return the network that stock nnU-Net builds for prediction."""
    manager = PlansManager(dict(plans))
    settings = manager.get_configuration(configuration)
    network: nn.Module = nnUNetTrainer.build_network_architecture(
        manager,
        settings,
        determine_num_input_channels(manager, settings, dict(dataset_json)),
        manager.get_label_manager(dict(dataset_json)).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    return network


def _trunk(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in checkpoint["network_weights"].items() if name.startswith(TRUNK)}


def _stock_checkpoint(
    checkpoint: Mapping[str, Any], plans: Mapping[str, Any], dataset_json: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """Return the checkpoint with nothing in it but tensors and plain values, so that it loads without unpickling."""
    arguments = checkpoint["init_args"]
    axes = checkpoint.get("inference_allowed_mirroring_axes")
    return {
        "network_weights": _trunk(checkpoint),
        "trainer_name": TRAINER,
        "init_args": {
            "plans": dict(plans),
            "configuration": str(arguments["configuration"]),
            "fold": arguments.get("fold"),
            "dataset_json": dict(dataset_json),
        },
        "inference_allowed_mirroring_axes": None if axes is None else tuple(int(axis) for axis in axes),
        "exported_from": {"trainer": str(checkpoint["trainer_name"]), "checkpoint_sha256": sha256_of(file)},
    }
