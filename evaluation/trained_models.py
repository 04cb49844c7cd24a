"""Trained models by name: the validation predictions of their folds, joined out of fold as one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.datasets import list_cases
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.dataset_json import DATASET_JSON
from nnunet_multitask.evaluation.fold_tables import DEFAULT_FOLDS, join_documents
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME
from nnunet_multitask.storage import atomic_directory, copy_file

CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True)
class TrainedModel:
    """A model folder of nnU-Net and the folds of it that are compared.

    Args:
        folder: TRAINER__PLANS__CONFIGURATION in the results of the dataset.
        masks: by fold and case id, the predicted masks of its validation cases.
    """

    folder: Path
    masks: Mapping[int, Mapping[str, Path]]

    @property
    def metadata(self) -> dict[str, Any]:
        """What comparison.json says of the model: trainer, plans, configuration, folds, checkpoint_sha256."""
        trainer, plans, configuration = self.folder.name.split("__")
        hashes = {str(fold): digest for fold in self.masks if (digest := self._checkpoint_sha256(fold)) is not None}
        named = {"trainer": trainer, "plans": plans, "configuration": configuration, "folds": list(self.masks)}
        return {**named, **({"checkpoint_sha256": hashes} if hashes else {}), "out_of_fold": True}

    def _checkpoint_sha256(self, fold: int) -> str | None:
        """Return the hash of the checkpoint that validated a fold: as its predictions tell, else of the final one."""
        classification = self.folder / f"fold_{fold}" / "validation" / CLASSIFICATION_NAME
        if classification.is_file():
            told: str | None = read_json(classification).get("model", {}).get("checkpoint_sha256", {}).get(str(fold))
            if told is not None:
                return told
        checkpoint = self.folder / f"fold_{fold}" / CHECKPOINT
        return _sha256(checkpoint) if checkpoint.is_file() else None


def read_splits(path: str | Path) -> list[dict[str, list[str]]]:
    """Return the folds of a splits_final.json, each with its cases by "train" and "val".

    Raises:
        InputError: the file is missing or holds something else.
    """
    folds = read_json(path)
    if not isinstance(folds, list) or not all(isinstance(f, dict) and {"train", "val"} <= f.keys() for f in folds):
        raise InputError("bad-splits", path, 'expected a list of {"train", "val"}', "split the dataset again")
    return folds


def find_trained_model(
    results_dir: str | Path,
    name: str,
    file_ending: str,
    *,
    folds: Sequence[int] | None = None,
    splits: Sequence[Mapping[str, Sequence[str]]] | None = None,
) -> TrainedModel:
    """Return a trained model with the masks of its validation cases.

    Args:
        results_dir: of one dataset, nnUNet_results/DatasetXXX_Name.
        name: TRAINER__PLANS__CONFIGURATION.
        file_ending: of the masks.
        folds: which; None: all that the splits have, 0 to 4 without splits.
        splits: see `read_splits`; with them each mask is checked to be of a validation case of its fold.

    Raises:
        InputError: no such model, or folds without validation predictions, by number.
        InputErrors: cases that two folds predicted, or that their fold was trained on.
    """
    folder = Path(results_dir) / name
    if name.count("__") != 2 or not folder.is_dir():
        present = sorted(path.name for path in Path(results_dir).glob("*__*__*")) if Path(results_dir).is_dir() else []
        fault = f"expected a model TRAINER__PLANS__CONFIGURATION, got {name}; there are {', '.join(present) or 'none'}"
        raise InputError("missing-model", results_dir, fault, "train it, or name one that is there")
    wanted = list(folds) if folds is not None else list(range(DEFAULT_FOLDS if splits is None else len(splits)))
    places = {fold: folder / f"fold_{fold}" / "validation" for fold in wanted}
    masks = {fold: list_cases(place, file_ending) for fold, place in places.items() if place.is_dir()}
    missing = [fold for fold in wanted if not masks.get(fold)]
    if missing:
        there = [str(fold) for fold in wanted if fold not in missing]
        fault = f"expected validation predictions of the folds {_text(wanted)}, found none of {_text(missing)}"
        choice = f", or compare over those there are: --folds {' '.join(there)}" if there else ""
        raise InputError("missing-folds", folder, fault, f"train these folds{choice}")
    model = TrainedModel(folder, masks)
    _check_out_of_fold(model, splits)
    return model


def join_trained_model(model: TrainedModel, destination: str | Path) -> None:
    """Write the validation predictions of all folds into one folder, as one folder of predictions is.

    Args:
        model: which.
        destination: made, or replaced; masks are copied (sharing blocks where the file system can), the folds'
            classification.json become one, with "fold" of each case.

    Raises:
        InputError: some folds have a classification.json and others not.
        InputErrors: those of `join_documents`.
    """
    files: dict[int | str, Path] = {
        fold: model.folder / f"fold_{fold}" / "validation" / CLASSIFICATION_NAME for fold in model.masks
    }
    absent = [fold for fold, path in files.items() if not path.is_file()]
    if absent and len(absent) < len(files):
        fault = f"expected {CLASSIFICATION_NAME} in the validation folder of every fold, found none in {_text(absent)}"
        raise InputError("missing-classification", model.folder, fault, "predict the classes of these folds too")
    document = None if absent else join_documents(files)
    with atomic_directory(destination, overwrite=True) as temporary:
        for masks in model.masks.values():
            for path in masks.values():
                copy_file(path, temporary / path.name)
        for name in (DATASET_JSON, "plans.json"):
            if (model.folder / name).is_file():
                copy_file(model.folder / name, temporary / name)
        if document is not None:
            write_json(temporary / CLASSIFICATION_NAME, document)


def _check_out_of_fold(model: TrainedModel, splits: Sequence[Mapping[str, Sequence[str]]] | None) -> None:
    home: dict[str, int] = {}
    errors = []
    for fold, masks in model.masks.items():
        trained = set(splits[fold]["train"]) if splits is not None and fold < len(splits) else set()
        for case_id, path in masks.items():
            if case_id in home:
                fault = f"expected each case in one fold, got it in the folds {home[case_id]} and {fold}"
                remedy = "a case that two models predict is not out of fold for both: check splits_final.json"
                errors.append(InputError("case-in-two-folds", path, fault, remedy))
            home.setdefault(case_id, fold)
            if case_id in trained:
                fault = f"expected a validation case of fold {fold}, got one that splits_final.json trains on"
                errors.append(InputError("not-out-of-fold", path, fault, "train again with these splits"))
    if errors:
        raise InputErrors(errors)


def _text(folds: Sequence[int | str]) -> str:
    return ", ".join(str(fold) for fold in folds)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
