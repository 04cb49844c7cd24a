"""The class labels of a training: where the sidecar is, what a batch's labels are, how classes are weighed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from nnunet_multitask.documents import write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import SIDECAR_NAME, LabelSidecar, Target, read_sidecar
from nnunet_multitask.losses.classification import UNKNOWN
from nnunet_multitask.training.sampling import check_entries


def sidecar_file(raw_dataset: Path | None, preprocessed_dataset: Path) -> Path:
    """Return the sidecar that counts, or where it should be written; arguments as for ``load_sidecar``."""
    copy = preprocessed_dataset / SIDECAR_NAME
    if raw_dataset is None or (copy.is_file() and not (raw_dataset / SIDECAR_NAME).is_file()):
        return copy
    return raw_dataset / SIDECAR_NAME


def load_sidecar(raw_dataset: Path | None, preprocessed_dataset: Path) -> LabelSidecar:
    """Read the sidecar of a dataset.

    The one beside the raw data counts; it is copied to the preprocessed data, from where it is read on a machine
    that has only those.

    Args:
        raw_dataset: ``nnUNet_raw/DatasetXXX_Name``, None where ``nnUNet_raw`` is not set.
        preprocessed_dataset: ``nnUNet_preprocessed/DatasetXXX_Name``.

    Raises:
        InputError: neither folder holds a sidecar.
    """
    file, copy = sidecar_file(raw_dataset, preprocessed_dataset), preprocessed_dataset / SIDECAR_NAME
    if not file.is_file():
        raise InputError(
            "missing-sidecar",
            file,
            "expected the class labels of the dataset, got no such file",
            "write it with `nnunet-multitask labels import` or `nnunet-multitask convert`, or train without classes: "
            "-tr nnUNetTrainerBaseline",
        )
    sidecar = read_sidecar(file)
    if file != copy and not _holds(copy, sidecar):
        write_json(copy, sidecar.to_json())
    return sidecar


def _holds(copy: Path, sidecar: LabelSidecar) -> bool:
    """Tell whether the copy is there and equal; one that is damaged is written again."""
    try:
        return copy.is_file() and read_sidecar(copy) == sidecar
    except (InputError, InputErrors):
        return False


class CaseLabels:
    """The encoded labels of the cases that a training uses.

    Args:
        targets: the targets, by name.
        sidecar: the sidecar that labels the cases.
        case_ids: the cases of training and validation.
        where: file that an error names.

    Raises:
        InputErrors: cases that have no entry in the sidecar.
    """

    def __init__(
        self, targets: Mapping[str, Target], sidecar: LabelSidecar, case_ids: Sequence[str], where: str | Path
    ) -> None:
        check_entries(sidecar, case_ids, where)
        self.targets = dict(targets)
        self._labels = {
            case_id: {
                name: target.encode(sidecar.cases[case_id].labels[name])
                for name, target in targets.items()
                if name in sidecar.cases[case_id].labels
            }
            for case_id in case_ids
        }

    def batch(self, case_ids: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the labels of a batch: for each target integers (B, K), ``UNKNOWN`` where there is no label."""
        batch = {}
        for name, target in self.targets.items():
            unknown = (UNKNOWN,) * (len(target.classes) if target.type == "multilabel" else 1)
            batch[name] = torch.tensor([self._labels[str(case_id)].get(name, unknown) for case_id in case_ids])
        return batch

    def class_counts(self, case_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """Count, for each target, the cases of each class among ``case_ids``; unknown ones count nowhere."""
        return {
            name: dict(zip(target.classes, self._presence(target, case_ids).sum(axis=0).tolist(), strict=True))
            for name, target in self.targets.items()
        }

    def class_weights(self, case_ids: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return weights that give every class the same total weight over ``case_ids``.

        Args:
            case_ids: the cases of the training fold, and of no other.

        Returns:
            For each target weights as ``ClassificationLoss`` takes them: n / (number of classes * n of the class),
            for multilabel n / (2 * n with or without the class).
        """
        weights = {}
        for name, target in self.targets.items():
            presence = self._presence(target, case_ids)
            present = presence.sum(axis=0)
            if target.type == "multilabel":
                present = np.stack((len(presence) - present, present), axis=1)  # (classes, 2)
            share = len(presence) / (present.shape[-1] * np.maximum(present, 1))
            weights[name] = torch.tensor(share, dtype=torch.float32)
        return weights

    def check_trainable(self, case_ids: Sequence[str], where: str | Path) -> None:
        """Refuse a target that cannot be learned from ``case_ids``.

        Raises:
            InputErrors: a target without a known label, or with a class that no case (or, for multilabel, that every
                case) has.
        """
        errors = []
        for name, target in self.targets.items():
            presence = self._presence(target, case_ids)
            present = presence.sum(axis=0)
            absent = [target.classes[i] for i in np.flatnonzero(present == 0)]
            constant = [target.classes[i] for i in np.flatnonzero(present == len(presence))]
            lacking = absent or (constant if target.type == "multilabel" else [])
            if lacking:
                counts = ", ".join(f"{c} {n}" for c, n in zip(target.classes, present.tolist(), strict=True))
                errors.append(
                    InputError(
                        "class-without-case",
                        f"{where}: targets/{name}",
                        f"expected cases with and without each class among the {len(presence)} labelled training "
                        f"cases, got {counts}",
                        "label more cases, choose folds by class with `nnunet-multitask split`, or drop the class",
                    )
                )
        if errors:
            raise InputErrors(errors)

    def _presence(self, target: Target, case_ids: Sequence[str]) -> np.ndarray:
        """Return which labelled case has which class, integers (cases, classes)."""
        rows = []
        for case_id in case_ids:
            label = self._labels[case_id].get(target.name)
            if label is not None:
                rows.append(label if target.type == "multilabel" else np.eye(len(target.classes), dtype=int)[label[0]])
        return np.array(rows, dtype=int).reshape(len(rows), len(target.classes))


def patch_has_foreground(target: torch.Tensor, ignore_label: int | None, has_regions: bool) -> torch.Tensor:
    """Tell which patches of a batch hold annotated foreground.

    Args:
        target: segmentation target at full resolution: labels (B, 1, *spatial), or with regions one channel a
            region (B, R, *spatial), followed by the ignore channel where there is an ignore label.
        ignore_label: the ignore label, None where there is none.
        has_regions: the target is region-based.

    Returns:
        Booleans, (B,).
    """
    if has_regions:
        regions = target[:, :-1] if ignore_label is not None else target
        return (regions > 0).flatten(1).any(dim=1)
    foreground = target > 0
    if ignore_label is not None:
        foreground &= target != ignore_label
    return foreground.flatten(1).any(dim=1)
