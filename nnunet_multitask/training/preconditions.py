"""What cannot work is said before training starts."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_multitask.config import config_from_plans
from nnunet_multitask.datasets import optional_folder, required_folder
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.trained_models import read_splits
from nnunet_multitask.inference.checkpoints import load_checkpoint_file
from nnunet_multitask.training.supervision import load_sidecar


def check_order_of_bases(trainer: type, mixin: type) -> None:
    """Refuse a trainer class in which nnU-Net's methods hide those of the mixin.

    Raises:
        InputError: the mixin does not stand in front of nnU-Net's trainer.
    """
    order = trainer.__mro__
    if nnUNetTrainer in order and order.index(nnUNetTrainer) < order.index(mixin):
        bases = ", ".join(base.__name__ for base in trainer.__bases__)
        # the one that the user wrote: it may bring the mixin along
        first = next(base for base in trainer.__bases__ if issubclass(base, mixin)).__name__
        raise InputError(
            "order-of-bases",
            _place(trainer),
            f"expected {first} in front of nnU-Net's trainer, got {bases}",
            f"write class {trainer.__name__}({first}, ...)",
        )


def check_nothing_is_lost(trainer: type, mixin: type, methods: Collection[str]) -> None:
    """Refuse a trainer that changes what the mixin replaces: its change would be lost without a word.

    Args:
        trainer: the class that is to be trained with.
        mixin: the mixin that replaces methods of nnU-Net's trainer without calling them.
        methods: their names; where the trainer in front of the mixin defines them itself, that is its own affair.

    Raises:
        InputError: a class between the mixin and nnU-Net's trainer defines one of them.
    """
    order = trainer.__mro__
    between = [base for base in order[order.index(mixin) + 1 : order.index(nnUNetTrainer)] if _is_foreign(base)]
    for base in between:
        lost = sorted(set(methods) & set(vars(base)))
        if lost:
            raise InputError(
                "lost-method",
                _place(trainer),
                f"expected a trainer that leaves {', '.join(sorted(methods))} alone, got {base.__name__}, whose "
                f"{lost[0]} {mixin.__name__} replaces",
                "build on another trainer; optimizer and learning rate are settings (`nnunet-multitask configure`)",
            )


def check_network_builder(trainer: type, mixin: type) -> None:
    """Refuse a trainer below the mixin whose network is built from other arguments than the plans.

    Raises:
        InputError: its ``build_network_architecture`` has nnU-Net's old signature.
    """
    order: Sequence[Any] = trainer.__mro__
    for base in order[order.index(mixin) + 1 :]:
        if "build_network_architecture" in vars(base) and _is_foreign(base):
            names = inspect.signature(base.build_network_architecture).parameters
            if "plans_manager" not in names:
                raise InputError(
                    "old-signature",
                    _place(trainer),
                    f"expected {base.__name__}.build_network_architecture(plans_manager, configuration_manager, ...), "
                    f"got ({', '.join(names)})",
                    "bring it to the present signature of nnU-Net",
                )


def check_branch_of_plans(plans: Mapping[str, Any]) -> None:
    """Refuse plans whose settings of the branch do not fit, or whose dataset has no class labels.

    nnU-Net makes the folder of the fold when it makes the trainer: this is called before.

    Raises:
        InputError, InputErrors: settings that do not fit; no sidecar, or one with faults.
    """
    config_from_plans(plans)
    name = str(plans["dataset_name"])
    raw = optional_folder("nnUNet_raw")
    load_sidecar(None if raw is None else raw / name, required_folder("nnUNet_preprocessed") / name)


def check_datasets_were_asked_for(trainer: type, were_asked_for: bool) -> None:
    """Refuse a trainer whose loaders are not made from the datasets of the fold, which have the labels.

    Raises:
        InputError: they were not asked for.
    """
    if not were_asked_for:
        raise InputError(
            "unsupported-loader",
            _place(trainer),
            "expected a get_dataloaders that calls get_tr_and_val_datasets, got one that does not",
            "build on a trainer that keeps nnU-Net's loaders",
        )


def check_pretrained(trainer: type, path: Path, *, has_branch: bool) -> None:
    """Refuse pretrained weights that the trainer's network cannot take.

    Args:
        trainer: the trainer.
        path: the checkpoint.
        has_branch: the trainer's network has a classification branch; one without takes any checkpoint of nnU-Net.

    Raises:
        InputError: the file is no checkpoint, could run code, or has no weights for the branch that the trainer adds.
    """
    # read without unpickling: what passes here is safe when nnU-Net loads it by itself
    weights = load_checkpoint_file(path)["network_weights"]
    if has_branch and not any(name.startswith("heads.") for name in weights):
        raise InputError(
            "stock-checkpoint",
            path,
            f"expected weights of the classification branch, which {trainer.__name__} adds, got a stock checkpoint",
            "bring it into form first: `nnunet-multitask pretrain-from`",
        )


def check_previous_stage(trainer: type, plans: Mapping[str, Any], configuration: str, fold: int | str) -> None:
    """Refuse a cascade whose cases the previous stage has not predicted; other configurations pass.

    nnU-Net makes the folder of the fold when it makes the trainer: this is called before.

    Args:
        trainer: class of the trainer; nnU-Net looks for the predictions of a trainer of the same name.
        plans: with the dataset's name.
        configuration: what is to be trained.
        fold: its cases are those of ``splits_final.json``; all of the dataset where that has no such fold.

    Raises:
        InputError: cases without prediction.
    """
    settings = PlansManager(dict(plans)).get_configuration(configuration)
    previous = settings.previous_stage_name
    if previous is None:
        return
    dataset = str(plans["dataset_name"])
    model = f"{trainer.__name__}__{plans['plans_name']}__{previous}"
    folder = required_folder("nnUNet_results") / dataset / model / "predicted_next_stage" / configuration
    found = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    missing = sorted(_cases_of_fold(required_folder("nnUNet_preprocessed") / dataset, settings, fold) - found)
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            "missing-previous-stage",
            folder,
            f"expected a prediction of {previous} for every case, got none for {named}",
            f"train every fold of {previous} to its end with the same trainer and plans: its validation writes them",
        )


def _cases_of_fold(preprocessed: Path, settings: ConfigurationManager, fold: int | str) -> set[str]:
    splits_file = preprocessed / "splits_final.json"
    splits = read_splits(splits_file) if splits_file.is_file() else []
    if isinstance(fold, int) and fold < len(splits):
        return {*splits[fold]["train"], *splits[fold]["val"]}
    cases = str(preprocessed / settings.data_identifier)
    return set(infer_dataset_class(cases).get_identifiers(cases))


def _is_foreign(base: type) -> bool:
    return not base.__module__.startswith("nnunet_multitask.") and base is not object


def _place(trainer: type) -> str:
    return f"trainer {trainer.__module__}.{trainer.__name__}"
