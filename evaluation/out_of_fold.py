"""Out-of-fold tables: every case predicted by the one model that was not trained on it, with its true label."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.levels import patient_of
from nnunet_multitask.evaluation.predictions import (
    CLASSIFICATION_NAME,
    Classification,
    read_classification,
)
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.targets import Label, Target

# what is the same for all folds of a model; files of earlier releases do not name the last two
MODEL_KEYS = ("trainer", "plans", "configuration", "checkpoint", "settings")


@dataclass(frozen=True)
class TargetTable:
    """The cases of one target whose label is known.

    Args:
        target: type and classes.
        case_ids: N of them.
        patients: (N,) the patient of each; the case itself where none is known.
        folds: (N,), or None where the table has no folds.
        probabilities: (N, C).
        truth: (N, C) bool, whether the case has the class.
        missing_labels: how many predicted cases have no known label.
    """

    target: Target
    case_ids: Sequence[str]
    patients: Sequence[str]
    folds: Sequence[int | str] | None
    probabilities: NDArray[np.float64]
    truth: NDArray[np.bool_]
    missing_labels: int


def find_fold_files(model_folder: str | Path) -> dict[int | str, Path]:
    """Return the classification.json in the validation folder of every fold of a model, by fold.

    Raises:
        InputError: there is none.
    """
    folder = Path(model_folder)
    found: dict[int | str, Path] = {}
    for path in sorted(folder.glob(f"fold_*/validation/{CLASSIFICATION_NAME}")):
        fold = path.parent.parent.name.removeprefix("fold_")
        if fold != "all":  # its validation cases were trained on
            found[int(fold) if fold.isdigit() else fold] = path
    if not found:
        raise InputError(
            "no-out-of-fold-table",
            folder,
            f"expected fold_0/validation/{CLASSIFICATION_NAME} or another fold's, found none",
            "train the folds, or validate them again with --val, or name a table with --classification",
        )
    return found


def join_folds(files: Mapping[int | str, Path]) -> Classification:
    """Read the validation predictions of several folds as one out-of-fold table.

    Args:
        files: a classification.json by fold.

    Returns:
        The table; its path is the folder that all the files lie in, its model has the checkpoints of all folds.

    Raises:
        InputError, InputErrors: as `read_classification`; folds of different models, checkpoints or settings, or with
            other targets; a case in two folds.
    """
    parts = {fold: read_classification(path) for fold, path in files.items()}
    first = next(iter(parts.values()))
    home: dict[str, int | str] = {}
    errors = list(_model_faults(parts))
    for fold, part in parts.items():
        if part.targets != first.targets:
            fault = f"expected the targets of {first.path}: {', '.join(first.targets)}, got others or other classes"
            errors.append(
                InputError("targets-differ", part.path, fault, "predict all folds with models of one training")
            )
        ways = [p.settings.get("aggregation") for p in (first, part)]
        if ways[0] != ways[1] and None not in ways:  # files of earlier releases do not tell
            fault = f"expected the aggregation of {first.path}: {ways[0]}, got {ways[1]}"
            errors.append(InputError("other-aggregation", part.path, fault, "validate these folds again with --val"))
        for case_id in part.cases:
            if case_id in home:
                fault = f"expected each case in one fold, got it in the folds {home[case_id]} and {fold}"
                remedy = "a case that two models predict is not out of fold for both: check splits_final.json"
                errors.append(InputError("case-in-two-folds", f"{part.path}: case {case_id}", fault, remedy))
            home.setdefault(case_id, fold)
    if errors:
        raise InputErrors(errors)
    hashes = {
        fold: digest for part in parts.values() for fold, digest in part.model.get("checkpoint_sha256", {}).items()
    }
    return replace(
        first,
        model={**first.model, "folds": list(files), **({"checkpoint_sha256": hashes} if hashes else {})},
        path=Path(os.path.commonpath(files.values())),
        cases={case_id: entry for part in parts.values() for case_id, entry in part.cases.items()},
        folds=home,
        references={case_id: entry for part in parts.values() for case_id, entry in part.references.items()},
        groups={case_id: group for part in parts.values() for case_id, group in part.groups.items()},
    )


def _model_faults(parts: Mapping[int | str, Classification]) -> Iterator[InputError]:
    """Yield, for each fold that is of another model than the first one, what differs."""
    first_fold, first = next(iter(parts.items()))
    for part in parts.values():
        differing = list(_differing(first.model, part.model))
        if differing:
            expected, got = (", ".join(f"{name} {pair[side]}" for name, *pair in differing) for side in (0, 1))
            fault = f"expected the model of fold {first_fold} ({expected}), got another one ({got})"
            remedy = "validate all folds with the same checkpoint (--val, with or without --val_best), or train it anew"
            yield InputError("other-model", part.path, fault, remedy)


def _differing(first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name and both values of what differs between two models; settings one by one."""
    for key in MODEL_KEYS:
        ours, theirs = first.get(key), other.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
            yield from ((name, ours.get(name, "as by default"), theirs.get(name, "as by default")) for name in names)
        elif ours != theirs and (key not in ("checkpoint", "settings") or None not in (ours, theirs)):
            yield key, ours, theirs


def target_tables(predicted: Classification, sidecar: LabelSidecar | None = None) -> dict[str, TargetTable]:
    """Return what is predicted and what is true of each target.

    Args:
        predicted: an out-of-fold table, or predictions of any cases beside a sidecar.
        sidecar: true labels and patients; without it those that stand in the table, where a case without a patient is
            its own.

    Raises:
        InputErrors: no true label of any case of a target, classes that differ from the sidecar's, folds of some
            cases only, calibrated probabilities.
    """
    tables, errors = {}, []
    for name, target in predicted.targets.items():
        found = {case_id: entry[name] for case_id, entry in predicted.cases.items() if name in entry}
        labels = {case_id: _label(predicted, sidecar, case_id, name) for case_id in found}
        known = {case_id: label for case_id, label in labels.items() if label is not None}
        where = f"{predicted.path}: target {name}"
        without_fold = [case_id for case_id in known if case_id not in predicted.folds]
        calibrated = [case_id for case_id, prediction in found.items() if prediction.calibrated]
        if sidecar is not None and name in sidecar.targets:
            ours, theirs = (target.type, set(target.classes)), sidecar.targets[name]
            if ours != (theirs.type, set(theirs.classes)):
                fault = f"expected {theirs.type} {', '.join(theirs.classes)} as in the sidecar"
                got = f"got {target.type} {', '.join(target.classes)}"
                remedy = "name the sidecar of the dataset that the model was trained on"
                errors.append(InputError("classes-differ", where, f"{fault}, {got}", remedy))
                continue
        if not known:
            fault = 'expected true labels beside the predictions ("reference"), got none'
            errors.append(InputError("missing-references", where, fault, "name the sidecar with --labels"))
        elif without_fold and len(without_fold) < len(known):
            fault = f"expected the fold of every case or of none, {len(without_fold)} have none: {without_fold[0]}, ..."
            errors.append(InputError("missing-fold", where, fault, 'write "fold" for every case'))
        elif calibrated:
            fault = f"expected probabilities as the model gave them, got calibrated ones (case {calibrated[0]})"
            errors.append(InputError("already-calibrated", where, fault, "predict without calibration"))
        else:
            tables[name] = _table(predicted, sidecar, target, known, len(found))
    if errors:
        raise InputErrors(errors)
    return tables


def _label(predicted: Classification, sidecar: LabelSidecar | None, case_id: str, name: str) -> Label | None:
    if sidecar is None:
        return predicted.references.get(case_id, {}).get(name)
    return sidecar.cases[case_id].labels.get(name) if case_id in sidecar.cases else None


def _patient(predicted: Classification, sidecar: LabelSidecar | None, case_id: str) -> str:
    if sidecar is None:
        return predicted.groups.get(case_id, f"case {case_id}")
    return patient_of(sidecar, case_id)


def _table(
    predicted: Classification,
    sidecar: LabelSidecar | None,
    target: Target,
    known: Mapping[str, Label],
    num_predicted: int,
) -> TargetTable:
    encoded = np.array([target.encode(label) for label in known.values()])
    exclusive = target.type != "multilabel"
    return TargetTable(
        target,
        list(known),
        [_patient(predicted, sidecar, case_id) for case_id in known],
        [predicted.folds[case_id] for case_id in known] if predicted.folds else None,
        np.array([[predicted.cases[c][target.name].probabilities[n] for n in target.classes] for c in known]),
        encoded == np.arange(len(target.classes)) if exclusive else encoded == 1,
        num_predicted - len(known),
    )
