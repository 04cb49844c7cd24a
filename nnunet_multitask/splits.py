"""Folds for cross-validation, balanced by class, that never part the cases of one patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Case, LabelSidecar

UNKNOWN = "unknown"

Fold = dict[str, list[str]]


def make_splits(sidecar: LabelSidecar, case_ids: Collection[str], num_folds: int = 5, seed: int = 12345) -> list[Fold]:
    """Return the folds in the form of nnU-Net's ``splits_final.json``.

    Each group (patient) goes as a whole to the fold that has had the least of its classes so far, large groups first,
    in an order drawn from the seed. The class of a case is the combination of its labels over all targets; unknown
    counts as a class of its own, as do cases that the sidecar does not list.

    Args:
        sidecar: labels and groups; a case without group is its own group.
        case_ids: the cases to distribute; their order does not matter.
        num_folds: number of folds, at least 2.
        seed: changes who goes where; equal input gives equal output.

    Returns:
        For each fold ``{"train": [...], "val": [...]}`` with sorted case ids.

    Raises:
        InputError: fewer than 2 folds, or fewer groups than folds.
    """
    groups: dict[str, list[str]] = {}
    for case_id in sorted(set(case_ids)):
        case = sidecar.cases.get(case_id, Case())
        name = f"case {case_id}" if case.group is None else f"group {case.group}"
        groups.setdefault(name, []).append(case_id)
    if not 2 <= num_folds <= len(groups):
        raise InputError(
            "impossible-split",
            "folds",
            f"expected 2 folds at least and a group (patient) for each, got {num_folds} folds of {len(groups)} groups",
            f"use --folds {len(groups)} or fewer" if len(groups) >= 2 else "add patients, or train the fold 'all'",
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    names = sorted((sorted(groups)[i] for i in order), key=lambda name: -len(groups[name]))
    held: list[Counter[Hashable]] = [Counter() for _ in range(num_folds)]
    validation: list[list[str]] = [[] for _ in range(num_folds)]
    for name in names:
        classes = Counter(_joint_class(sidecar, case_id) for case_id in groups[name])
        fold = min(range(num_folds), key=lambda k: (_overlap(held[k], classes), len(validation[k]), k))
        held[fold].update(classes)
        validation[fold].extend(groups[name])
    everything = {case_id for members in groups.values() for case_id in members}
    return [{"train": sorted(everything - set(val)), "val": sorted(val)} for val in validation]


def fold_counts(sidecar: LabelSidecar, splits: Sequence[Mapping[str, Sequence[str]]]) -> list[dict[str, Any]]:
    """Return how many cases of each class every fold has, for printing.

    Args:
        sidecar: the labels.
        splits: the folds, as ``make_splits`` returns them.

    Returns:
        For each fold ``{"fold": k, "train": {"cases": n, "targets": {target: {class: n, "unknown": n}}}, "val": ...}``.
    """
    counts: list[dict[str, Any]] = []
    for index, split in enumerate(splits):
        entry: dict[str, Any] = {"fold": index}
        for part in ("train", "val"):
            entry[part] = {"cases": len(split[part]), "targets": class_counts(sidecar, split[part])}
        counts.append(entry)
    return counts


def class_counts(sidecar: LabelSidecar, case_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Return for each target how many of the cases have each class, and how many are unknown."""
    counts = {name: {**dict.fromkeys(target.classes, 0), UNKNOWN: 0} for name, target in sidecar.targets.items()}
    for case_id in case_ids:
        labels = sidecar.cases.get(case_id, Case()).labels
        for name in sidecar.targets:
            label = labels.get(name, UNKNOWN)
            for class_name in (label,) if isinstance(label, str) else label:
                counts[name][class_name] += 1
    return counts


def _joint_class(sidecar: LabelSidecar, case_id: str) -> Hashable:
    labels = sidecar.cases.get(case_id, Case()).labels
    return tuple(
        tuple(sorted(label)) if isinstance(label, tuple) else label
        for label in (labels.get(name) for name in sorted(sidecar.targets))
    )


def _overlap(held: Counter[Hashable], classes: Counter[Hashable]) -> int:
    return sum(held[name] * count for name, count in classes.items())
