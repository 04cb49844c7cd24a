"""Linear probes on the encoder of a trained model: whether a class is readable at all, and in which stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.probing import INVERSE_REGULARIZATION, SCORES, Part, probe, tasks_of
from nnunet_multitask.inference.features import POOLINGS, FeatureExtractor
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import check_fold
from nnunet_multitask.workflows.validation_cases import Split, check_trained_with, open_cases

Features = Mapping[str, Sequence[np.ndarray]]  # by pooling the stages

DEFINITIONS = {
    "protocol": "In each fold a logistic regression is fitted on the features of its training cases and applied to its "
    "validation cases, which neither the fold's network nor the probe has seen; the validation cases of all folds are "
    f"scored together. Features are standardised and classes weighted by the training cases; L2 penalty, C = "
    f"{INVERSE_REGULARIZATION}.",
    "average": "mean of a stage over all voxels of all tiles of a case",
    "foreground": "mean under the network's own foreground probability",
    "permuted": "the same with labels permuted among the training patients: mean, 95th percentile (high), and share of "
    "permutations that reach the value (p)",
    "intervals": "95 %, bootstrap over patients",
}


def probe_model(
    folder: Path,
    splits: Mapping[int, Split],
    sidecar: LabelSidecar,
    preprocessed: Path,
    *,
    checkpoint_name: str,
    device: torch.device,
    step_size: float,
    permutations: int,
    trust_checkpoint: bool = False,
) -> dict[str, Any]:
    """Probe every stage for every target, and return strict JSON.

    Args:
        folder: of the trained model, stock or multi-task.
        splits: by fold its cases under "train" and "val".
        sidecar: class labels of the dataset.
        preprocessed: ``nnUNet_preprocessed/DatasetXXX_Name``.
        checkpoint_name: file in each fold's folder.
        device: where the network runs.
        step_size: step between tiles, in tiles.
        permutations: of the control.
        trust_checkpoint: unpickle the checkpoints, whatever they ask for, and warn.

    Raises:
        InputError: a patient on both sides of a fold, folds other than those trained with, missing preprocessed cases.
        InputErrors: classes that a fold's training cases lack.
    """
    labels = {
        task: (labels_of(sidecar, target, index), classes)
        for task, (target, index, classes) in tasks_of(sidecar.targets).items()
    }
    _check_classes(labels, splits, folder)
    wanted = {case_id for values, _ in labels.values() for case_id in values}
    seen: dict[int, dict[str, Features]] = {}
    channels: tuple[int, ...] = ()
    for fold, split in splits.items():
        check_fold(sidecar, {part: list(split[part]) for part in ("train", "val")}, preprocessed / "splits_final.json")
        check_trained_with(folder / f"fold_{fold}" / "validation", split["val"])
        extract = FeatureExtractor(folder, fold, checkpoint_name, device, step_size, trust_checkpoint=trust_checkpoint)
        channels = extract.channels
        cases = [case_id for part in ("train", "val") for case_id in split[part] if case_id in wanted]
        read = partial(_features_of, extract, open_cases(preprocessed / extract.data_identifier, cases))
        features = map_in_order(read, cases, num_workers=1, description=f"fold {fold}, features")
        seen[fold] = dict(zip(cases, features, strict=True))
    jobs = [
        (task, pooling, stage) for task in labels for pooling in POOLINGS for stage in range(len(channels))
    ]  # fmt: skip

    def fit(job: tuple[str, str, int]) -> dict[str, Any]:
        task, pooling, stage = job
        values, num_classes = labels[task]
        parts = [
            _part(values, sidecar, seen[fold], splits[fold], pooling, stage)
            for fold in splits
            if any(case_id in values for case_id in splits[fold]["val"])
        ]
        found = {"stage": stage, "channels": channels[stage], "pooling": pooling}
        return {**found, **probe(parts, num_classes, permutations)}

    results = list(map_in_order(fit, jobs, num_workers=1, description="probes", unit="probe"))
    return {
        "version": 1,
        "model": {"folder": str(folder), "folds": list(splits), "checkpoint": checkpoint_name},
        "definitions": DEFINITIONS,
        "permutations": permutations,
        "targets": {
            task: {
                "chance": dict(zip(SCORES, (1 / labels[task][1], 0.5), strict=True)),
                "probes": [found for job, found in zip(jobs, results, strict=True) if job[0] == task],
            }
            for task in labels
        },
    }


def labels_of(sidecar: LabelSidecar, target: str, index: int | None) -> dict[str, int]:
    """Return the class of each case whose label is known; with ``index`` whether it has that class, 0 or 1."""
    known = {}
    for case_id, case in sidecar.cases.items():
        if target in case.labels:
            codes = sidecar.targets[target].encode(case.labels[target])
            code = codes[0 if index is None else index]
            if code >= 0:
                known[case_id] = int(code)
    return known


def _part(
    values: Mapping[str, int],
    sidecar: LabelSidecar,
    features: Mapping[str, Features],
    split: Split,
    pooling: str,
    stage: int,
) -> Part:
    train, val = ([case_id for case_id in split[part] if case_id in values] for part in ("train", "val"))
    tables = [np.stack([features[case_id][pooling][stage] for case_id in part]) for part in (train, val)]
    codes = [np.array([values[case_id] for case_id in part]) for part in (train, val)]
    groups = [[sidecar.cases[case_id].group or case_id for case_id in part] for part in (train, val)]
    return Part(tables[0], codes[0], groups[0], tables[1], codes[1], groups[1])


def _features_of(extract: FeatureExtractor, dataset: Any, case_id: str) -> Features:
    data, _, _, _ = dataset.load_case(case_id)
    return extract(data[:])


def _check_classes(
    labels: Mapping[str, tuple[Mapping[str, int], int]], splits: Mapping[int, Split], folder: Path
) -> None:
    errors = []
    for task, (values, num_classes) in labels.items():
        for fold, split in splits.items():
            found = {values[case_id] for case_id in split["train"] if case_id in values}
            if len(found) < num_classes:
                errors.append(
                    InputError(
                        "class-without-case",
                        f"{folder}, fold {fold}",
                        f"expected training cases of all {num_classes} classes of {task}, got {len(found)}",
                        "leave the target out with --targets, or split the dataset anew",
                    )
                )
    if errors:
        raise InputErrors(errors)
