"""Folds for cross-validation, balanced by class, that never part the cases of one patient."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.stratification import deal
from nnunet_multitask.targets import UNKNOWN_CLASS

UNKNOWN = UNKNOWN_CLASS

# what the parts of a data set are called, in any case
SPLITS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "validation"),
    "test": ("test", "testing", "ts"),
}

Fold = dict[str, list[str]]

_SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}
_NAMED = 10  # cases that a message lists


def make_splits(sidecar: LabelSidecar, case_ids: Collection[str], num_folds: int = 5, seed: int = 12345) -> list[Fold]:
    """Return the folds in the form of nnU-Net's ``splits_final.json``.

    Each group (patient) goes as a whole to one fold, such that the folds have equal shares of the cases and of every
    class of every target, as far as whole patients allow (``stratification.deal``). Unknown labels count as a class, as
    do cases that the sidecar does not list.

    Args:
        sidecar: labels and groups; a case without group is its own group.
        case_ids: the cases to distribute; their order does not matter.
        num_folds: number of folds, at least 2.
        seed: changes who goes where; equal input gives equal output.

    Returns:
        For each fold ``{"train": [...], "val": [...]}`` with sorted case ids.

    Raises:
        InputError: fewer than 2 folds, fewer groups than folds, or a seed below 0.
    """
    if seed < 0:
        raise InputError("bad-seed", "--seed", f"expected 0 or more, got {seed}", "correct it")
    groups = group_cases(sidecar, case_ids)
    if not 2 <= num_folds <= len(groups):
        raise InputError(
            "impossible-split",
            "folds",
            f"expected 2 folds at least and a group (patient) for each, got {num_folds} folds of {len(groups)} groups",
            f"use --folds from 2 to {len(groups)}" if len(groups) >= 2 else "add patients, or train the fold 'all'",
        )
    features = np.array([_features(sidecar, members) for members in groups.values()])
    fold_of = deal(features, num_folds, seed)
    everything = {case_id for members in groups.values() for case_id in members}
    folds = []
    for fold in range(num_folds):
        val = {
            case_id for members, at in zip(groups.values(), fold_of, strict=True) if at == fold for case_id in members
        }
        folds.append({"train": sorted(everything - val), "val": sorted(val)})
    return folds


def official_fold(
    sidecar: LabelSidecar, case_ids: Collection[str], where: str | Path, drop_leaking: bool = False
) -> Fold:
    """Return the one fold that the splits of the sidecar say, for data sets with an official validation set.

    Args:
        sidecar: its cases name their split: ``train`` or ``val``, or another word of ``SPLITS``.
        case_ids: the training cases of the dataset; those whose split is ``test`` go to neither side.
        where: the sidecar's file, for messages.
        drop_leaking: leave the training cases of patients out who are in the validation set, too.

    Raises:
        InputErrors: cases without a split, or with another word; no case on one of the sides; patients on both sides.
    """
    words = {case_id: sidecar.cases.get(case_id, Case()).split for case_id in case_ids}
    part_of = {case_id: split_of(word) for case_id, word in words.items()}
    unknown = sorted(case_id for case_id, part in part_of.items() if part is None)
    errors = []
    if unknown:
        shown = ", ".join(f"{case_id} ({words[case_id] or 'none'})" for case_id in unknown[:_NAMED])
        fault = f"expected the split train, val or test of every training case, got another for {_more(shown, unknown)}"
        remedy = "name their splits: `nnunet-multitask labels import TABLE --split-column NAME`"
        errors.append(InputError("unknown-split", where, fault, remedy))
    fold = {part: sorted(case_id for case_id in part_of if part_of[case_id] == part) for part in ("train", "val")}
    leaking = groups_on_both_sides(sidecar, fold)
    if leaking and drop_leaking:
        fold["train"] = [case_id for case_id in fold["train"] if sidecar.cases[case_id].group not in leaking]
    elif leaking:
        errors.append(_leak(leaking, where, "use --drop-leaking, which leaves their training cases out"))
    errors += [
        InputError("impossible-split", where, f"expected cases of the split {part}, got none", "use --folds instead")
        for part in fold
        if not fold[part] and not unknown
    ]
    if errors:
        raise InputErrors(errors)
    return fold


def split_of(word: str | None) -> str | None:
    """Return ``train``, ``val`` or ``test`` for a word of ``SPLITS`` in any case, None for any other."""
    return _SPLIT_OF.get((word or "").lower())


def group_cases(sidecar: LabelSidecar, case_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the cases of each group (patient), sorted; a case without group is a group of its own."""
    groups: dict[str, list[str]] = {}
    for case_id in sorted(set(case_ids)):
        groups.setdefault(_group(sidecar, case_id), []).append(case_id)
    return dict(sorted(groups.items()))


def groups_on_both_sides(sidecar: LabelSidecar, fold: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the groups (patients) that have cases in the training and in the validation part of a fold, sorted."""
    sides = [{sidecar.cases.get(case_id, Case()).group for case_id in fold[part]} - {None} for part in ("train", "val")]
    return sorted(str(group) for group in sides[0] & sides[1])


def check_fold(sidecar: LabelSidecar, fold: Mapping[str, Sequence[str]], where: str | Path) -> None:
    """Refuse a fold that has a patient on both sides: its validation would praise what the network remembers.

    Raises:
        InputError: names the patients.
    """
    leaking = groups_on_both_sides(sidecar, fold)
    if leaking:
        command = f"`nnunet-multitask split {_dataset_of(where)} --overwrite`"
        raise _leak(leaking, where, f"make folds of whole patients: {command}")


def lacking_classes(sidecar: LabelSidecar, case_ids: Collection[str]) -> dict[str, list[str]]:
    """Return what keeps a target from being learned from some cases.

    Returns:
        By target, the classes that no case with a known label has, and for multilabel those that all of them have;
        targets that lack nothing are left out.
    """
    lacking = {}
    for name, counts in class_counts(sidecar, case_ids).items():
        target = sidecar.targets[name]
        num_known = sum(name in sidecar.cases[case_id].labels for case_id in case_ids if case_id in sidecar.cases)
        full = num_known if target.type == "multilabel" else -1
        if classes := [label for label in target.classes if counts[label] in (0, full)]:
            lacking[name] = classes
    return lacking


def check_splits(sidecar: LabelSidecar, splits: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Refuse folds that training would refuse: a class of which a training part has no case, or no case without.

    Raises:
        InputErrors: one for each target, with its classes and folds.
    """
    errors = _folds_lacking(sidecar, splits, "train", "training")
    if errors:
        raise InputErrors(errors)


def split_warnings(sidecar: LabelSidecar, splits: Sequence[Mapping[str, Sequence[str]]]) -> list[InputError]:
    """Return, for each target, which classes some folds have no case of, or no case without, in validation."""
    return _folds_lacking(sidecar, splits, "val", "validation")


def lacking_remedy(part: str, folds: str = "use fewer folds") -> str:
    """Return what can be done about folds of which the part, "train" or "val", lacks a class.

    Args:
        part: the part.
        folds: advice about the number of folds; empty where no number helps.
    """
    if part == "val":
        advice = f"{folds}, or " if folds else ""
        return f"the AUC of these folds is null: {advice}score all folds together (out of fold)"
    advice = f"{folds} or another --seed, " if folds else ""
    return (
        f"label more patients (each class needs two at least, with and without it), {advice}or merge or drop the class "
        "or its target in class_labels.json"
    )


def most_folds(sidecar: LabelSidecar, case_ids: Collection[str], part: str, below: int) -> int | None:
    """Return the largest number of folds below ``below`` of which no part, "train" or "val", lacks a class, if any."""
    for num_folds in range(min(below - 1, len(group_cases(sidecar, case_ids))), 1, -1):
        if not any(lacking_classes(sidecar, fold[part]) for fold in make_splits(sidecar, case_ids, num_folds)):
            return num_folds
    return None


def _folds_lacking(
    sidecar: LabelSidecar, splits: Sequence[Mapping[str, Sequence[str]]], part: str, side: str
) -> list[InputError]:
    case_ids = {case_id for fold in splits for key in ("train", "val") for case_id in fold[key]}
    num_groups = len(group_cases(sidecar, case_ids))
    lacking = [lacking_classes(sidecar, fold[part]) for fold in splits]
    if not any(lacking):
        return []
    fewer = most_folds(sidecar, case_ids, part, len(splits))
    remedy = lacking_remedy(part, f"use --folds {fewer}" if fewer else "")
    found = []
    for name, target in sidecar.targets.items():
        shown = []
        for label in target.classes:
            folds = ", ".join(str(index) for index, classes in enumerate(lacking) if label in classes.get(name, ()))
            if folds:
                having = len(group_cases(sidecar, [c for c in case_ids if _has(sidecar, c, name, label)]))
                shown.append(f"{label} in fold {folds} ({having} of {num_groups} patients have it)")
        if shown:
            fault = f"expected {side} cases with and without every class in every fold, got but one kind of "
            found.append(InputError(f"class-without-{side}", f"targets/{name}", fault + "; ".join(shown), remedy))
    return found


def fold_counts(sidecar: LabelSidecar, splits: Sequence[Mapping[str, Sequence[str]]]) -> list[dict[str, Any]]:
    """Return how many cases of each class every fold has, for printing.

    Args:
        sidecar: the labels.
        splits: the folds, as ``make_splits`` returns them.

    Returns:
        For each fold ``{"fold": k, "train": {"cases": n, "groups": n, "targets": {target: {class: n, "unknown": n}}},
        "val": ...}``; groups are patients.
    """
    counts: list[dict[str, Any]] = []
    for index, split in enumerate(splits):
        entry: dict[str, Any] = {"fold": index}
        for part in ("train", "val"):
            groups = len(group_cases(sidecar, split[part]))
            entry[part] = {"cases": len(split[part]), "groups": groups, "targets": class_counts(sidecar, split[part])}
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


def _features(sidecar: LabelSidecar, case_ids: Sequence[str]) -> list[int]:
    """Return what a group brings into its fold: cases, cases of each class of each target, cases without any."""
    counts = class_counts(sidecar, case_ids)
    labels = [sidecar.cases.get(case_id, Case()).labels for case_id in case_ids]
    without = [sum(known.get(name) == () for known in labels) for name in sidecar.targets]
    return [len(case_ids), *(number for target in counts.values() for number in target.values()), *without]


def _has(sidecar: LabelSidecar, case_id: str, target: str, label: str) -> bool:
    found = sidecar.cases.get(case_id, Case()).labels.get(target, ())
    return label == found or (isinstance(found, tuple) and label in found)


def _group(sidecar: LabelSidecar, case_id: str) -> str:
    group = sidecar.cases.get(case_id, Case()).group
    return f"case {case_id}" if group is None else f"group {group}"


def _dataset_of(splits_file: str | Path) -> str:
    """Return the id of the dataset whose folder a split file lies in, a placeholder where it lies elsewhere."""
    name = Path(splits_file).absolute().parent.name
    return str(int(name[7:10])) if name.startswith("Dataset") and name[7:10].isdecimal() else "DATASET"


def _leak(groups: Sequence[str], where: str | Path, remedy: str) -> InputError:
    shown = _more(", ".join(groups[:_NAMED]), groups)
    fault = f"expected every patient on one side, got in training and validation: {shown}"
    return InputError("leaking-group", where, fault, remedy)


def _more(shown: str, items: Sequence[Any]) -> str:
    return shown if len(items) <= _NAMED else f"{shown} and {len(items) - _NAMED} more"
