"""The preprocessed cases of the folds that a model was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError

Split = Mapping[str, Sequence[str]]  # the cases of a fold under "train" and "val"


def open_cases(folder: Path, case_ids: Sequence[str]) -> Any:
    """Return nnU-Net's reader of preprocessed cases.

    Args:
        folder: of a configuration's preprocessed cases.
        case_ids: the cases.

    Raises:
        InputError: the folder is empty, or some of the cases are not there.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(
            "missing-preprocessed", folder, "expected preprocessed cases, got none", "run `nnunet-multitask plan`"
        )
    kind = infer_dataset_class(str(folder))
    missing = sorted(set(case_ids) - set(kind.get_identifiers(str(folder))))
    if missing:
        fault = f"expected every labelled case of the folds, got none of {', '.join(missing[:5])}"
        raise InputError("missing-preprocessed", folder, fault, "preprocess the dataset again")
    return kind(str(folder), list(case_ids))


def check_trained_with(validation: Path, case_ids: Sequence[str]) -> None:
    """Refuse folds that were made after the training: its validation has left the masks of other cases.

    Args:
        validation: the folder of a fold's validation; nothing is compared where there is none.
        case_ids: the validation cases of splits_final.json.

    Raises:
        InputError: they are others.
    """
    masks = {path.name.split(".")[0] for path in validation.glob("*.nii.gz")}
    if masks and masks != set(case_ids):
        other = sorted(masks ^ set(case_ids))
        fault = f"expected the validation cases of splits_final.json, got others in training: {', '.join(other[:5])}"
        raise InputError(
            "other-splits", validation, fault, "restore the folds that it was trained with, or train it again"
        )
