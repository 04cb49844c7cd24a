"""Trained models of ``compare``: where nnU-Net's folders hold their predictions, reference, labels and images."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError


@dataclass(frozen=True)
class Trained:
    """Trained models as folders of predictions.

    Args:
        arguments: NAME=DIR of each.
        metadata: what is known of each, by name.
        case_ids: the cases of their folds; None: there are no trained models.
        folds: the fold that validated each case.
    """

    arguments: tuple[str, ...] = ()
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    case_ids: frozenset[str] | None = None
    folds: Mapping[str, int] = field(default_factory=dict)


def join_trained(args: argparse.Namespace) -> Trained:
    """Join the folds of every trained model below the output folder, and fill in reference, labels and images.

    Raises:
        InputError, InputErrors: unset variables, no such dataset or model, folds that are missing, cases in two folds.
    """
    from nnunet_multitask.datasets import find_dataset, optional_folder, required_folder
    from nnunet_multitask.evaluation.dataset_json import DATASET_JSON, read_dataset_json
    from nnunet_multitask.evaluation.trained_models import find_trained_model, join_trained_model, read_splits
    from nnunet_multitask.labels import SIDECAR_NAME

    results = find_dataset(required_folder("nnUNet_results"), args.dataset)
    if args.reference is None or args.dataset_json is None:
        raw = find_dataset(required_folder("nnUNet_raw"), results.name)
        args.dataset_json = args.dataset_json or raw / DATASET_JSON
        if args.reference is None:
            args.reference = raw / "labelsTr"
            args.labels = args.labels or _if_there(raw / SIDECAR_NAME)
            args.images = args.images or _if_there(raw / "imagesTr")
    ending = read_dataset_json(args.dataset_json).file_ending
    preprocessed = optional_folder("nnUNet_preprocessed")
    splits_path = None if preprocessed is None else _if_there(preprocessed / results.name / "splits_final.json")
    splits = None if splits_path is None else read_splits(splits_path)
    models = {}
    for argument in args.trained:
        name, _, model = argument.rpartition("=")
        if (name or model) in models:
            fault = f"expected another name than {name or model}"
            raise InputError("duplicate-model", argument, fault, f"name them: --trained NAME={model}")
        check_model_name(name or model, argument)
        models[name or model] = find_trained_model(results, model, ending, folds=args.folds, splits=splits)
    folders = {name: Path(args.output) / "out_of_fold" / name for name in models}
    for name, found in models.items():
        join_trained_model(found, folders[name])
    cases = {case_id for found in models.values() for masks in found.masks.values() for case_id in masks}
    if splits is not None:  # a validation case that no model predicted counts as missed
        wanted = range(len(splits)) if args.folds is None else args.folds
        cases |= {case_id for fold in wanted if fold < len(splits) for case_id in splits[fold]["val"]}
    return Trained(
        tuple(f"{name}={folder}" for name, folder in folders.items()),
        {name: found.metadata for name, found in models.items()},
        frozenset(cases),
        {case_id: fold for found in models.values() for fold, masks in found.masks.items() for case_id in masks},
    )


def check_model_name(name: str, argument: str) -> None:
    """Refuse a name that would lead out of the output folder, in which folders are called by it."""
    if "/" in name or name in (".", ".."):
        fault = "expected a name without /, which a folder is called by"
        raise InputError("bad-model-name", argument, fault, "choose another name")


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
