"""What commands on validation cases share: the folds of a model's training, and labels of cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.labels import LabelSidecar


def add_labels(parser: argparse.ArgumentParser, help_of_targets: str) -> None:
    """Add ``--labels`` and ``--targets``; see `labels_of`."""
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class_labels.json (default: that of the model's dataset)"
    )
    parser.add_argument("--targets", nargs="+", metavar="TARGET", help=help_of_targets)


def splits_of(folder: Path, folds: Sequence[int | str]) -> tuple[Path, dict[int, dict[str, list[str]]]]:
    """Return the preprocessed dataset of a trained model, and by fold its cases under "train" and "val".

    Args:
        folder: of the model, with its plans.
        folds: numbers.

    Raises:
        InputError: the dataset or its splits are missing, or have fewer folds.
    """
    from nnunet_multitask.datasets import find_dataset, required_folder
    from nnunet_multitask.documents import read_json
    from nnunet_multitask.evaluation.trained_models import read_splits

    preprocessed = find_dataset(
        required_folder("nnUNet_preprocessed"), read_json(folder / "plans.json")["dataset_name"]
    )
    splits_file = preprocessed / "splits_final.json"
    if not splits_file.is_file():
        fault = "expected the folds that the model was trained with, got no such file"
        raise InputError(
            "missing-splits", splits_file, fault, "restore it: without it nobody knows which cases are new"
        )
    splits = read_splits(splits_file)
    absent = [fold for fold in folds if not 0 <= int(fold) < len(splits)]
    if absent:
        fault = f"expected folds from 0 to {len(splits) - 1}, got {', '.join(map(str, absent))}"
        raise InputError("bad-fold", splits_file, fault, "correct -f")
    return preprocessed, {int(fold): splits[int(fold)] for fold in folds}


def labels_of(args: argparse.Namespace, preprocessed: Path) -> LabelSidecar:
    """Return the labels, those of the wanted targets only.

    Raises:
        InputError: there are none, or an unknown target.
    """
    from nnunet_multitask.datasets import optional_folder
    from nnunet_multitask.labels import read_sidecar
    from nnunet_multitask.training.supervision import load_sidecar

    raw = optional_folder("nnUNet_raw")
    sidecar = (
        load_sidecar(None if raw is None else raw / preprocessed.name, preprocessed)
        if args.labels is None
        else read_sidecar(args.labels)
    )
    if args.targets is None:
        return sidecar
    unknown = [name for name in args.targets if name not in sidecar.targets]
    if unknown:
        fault = f"expected some of {', '.join(sidecar.targets)}, got {', '.join(unknown)}"
        raise InputError("unknown-target", "--targets", fault, "correct it")
    return replace(sidecar, targets={name: sidecar.targets[name] for name in args.targets})
