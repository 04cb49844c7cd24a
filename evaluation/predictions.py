"""Reading classification.json: what a model predicted for each case, as probabilities and decisions of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputErrors
from nnunet_multitask.evaluation.prediction_checks import case_faults
from nnunet_multitask.targets import Label, Target, target_faults

CLASSIFICATION_NAME = "classification.json"
THRESHOLD = 0.5  # of a class where the file names no other

Probabilities = Mapping[str, float]  # by class; both classes of a binary target


@dataclass(frozen=True)
class Prediction:
    """What a model says of one case and target.

    Args:
        probabilities: by class name; both classes of a binary target are there.
        decision: a class name, or for a multilabel target a tuple of class names.
        thresholds: by class, the probability from which on it was called present; None: the most probable class.
        calibrated: the probabilities are calibrated.
        slices: of each axial slice in array order the probabilities by class, None where there are none; empty where
            the model says nothing of slices.
    """

    probabilities: Probabilities
    decision: Label
    thresholds: Mapping[str, float] | None = None
    calibrated: bool = False
    slices: tuple[Probabilities | None, ...] = ()


@dataclass(frozen=True)
class Classification:
    """A whole classification.json.

    Args:
        path: where it was read.
        model: what is known of the model: trainer, plans, configuration, folds, checkpoint_sha256.
        targets: by name.
        cases: case id, then target name, to what was predicted.
        folds: of an out-of-fold table, the fold by case id: the model that predicted the case was not trained on it.
        references: of an out-of-fold table, the true label by case id and target; unknown ones are absent.
        groups: of an out-of-fold table, the patient by case id, where one is known.
        settings: what else the numbers depend on: aggregation by target, and others.
    """

    path: Path
    model: Mapping[str, Any]
    targets: Mapping[str, Target]
    cases: Mapping[str, Mapping[str, Prediction]]
    folds: Mapping[str, int | str] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, Label]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_classification(path: str | Path) -> Classification:
    """Read and check predicted class probabilities; an out-of-fold table is the same file with fold and reference.

    Args:
        path: a classification.json.

    Raises:
        InputError: the file is missing or is no strict JSON (NaN is none).
        InputErrors: every fault of shape (schemas/classification.json), or else every case and target whose
            probabilities (of the case or of a slice) do not belong to the classes, lie outside [0, 1] or, for binary
            and multiclass targets, do not sum to 1 within 1e-3, every decision, threshold and reference of an unknown
            class.
    """
    path = Path(path)
    return parse_classification(read_json(path), path)


def parse_classification(document: Any, path: Path) -> Classification:
    """Check the document of a classification.json; see `read_classification`.

    Args:
        document: the parsed JSON.
        path: where it was read, for messages.
    """
    check_schema(document, CLASSIFICATION_NAME, path)
    targets = {
        name: Target(name=name, type=entry["type"], classes=tuple(entry["classes"]))
        for name, entry in document["targets"].items()
    }
    errors = [error for target in targets.values() for error in target_faults(target, path)]
    if not errors:
        for case_id, entry in document["cases"].items():
            errors.extend(case_faults(path, case_id, entry, targets))
    if errors:
        raise InputErrors(errors)
    entries = document["cases"].items()
    return Classification(
        path,
        document.get("model", {}),
        targets,
        {
            case_id: {
                name: _prediction(targets[name], prediction, entry.get("slices", {}).get(name, []))
                for name, prediction in entry["targets"].items()
            }
            for case_id, entry in entries
        },
        {case_id: entry["fold"] for case_id, entry in entries if "fold" in entry},
        {
            case_id: {name: _label(label) for name, label in entry["reference"].items() if label is not None}
            for case_id, entry in entries
            if "reference" in entry
        },
        {case_id: entry["group"] for case_id, entry in entries if entry.get("group") is not None},
        document.get("settings", {}),
    )


def decide(target: Target, probabilities: Probabilities, thresholds: Mapping[str, float] | None = None) -> Label:
    """Return the decision that probabilities mean.

    Args:
        target: which classes there are.
        probabilities: by class.
        thresholds: by class, from which probability on it is present; of two exclusive classes that of the one
            that counts as positive, the second as a rule. A class without one has 0.5.

    Returns:
        Of a multilabel target every class that reaches its threshold. Else, of two classes the positive one where it
        reaches its threshold and the other where not; of more classes, or without thresholds for a multiclass target,
        the most probable one (the first of equals).
    """
    limits = thresholds or {}
    if target.type == "multilabel":
        return tuple(name for name in target.classes if probabilities[name] >= limits.get(name, THRESHOLD))
    if target.type == "binary" or (len(target.classes) == 2 and limits):
        first, second = target.classes if target.classes[1] in limits or not limits else target.classes[::-1]
        return second if probabilities[second] >= limits.get(second, THRESHOLD) else first
    return max(target.classes, key=lambda name: probabilities[name])


def _prediction(target: Target, entry: Mapping[str, Any], slices: list[Any]) -> Prediction:
    threshold = entry.get("threshold")
    thresholds: Mapping[str, float] | None = None
    if isinstance(threshold, (int, float)):
        thresholds = dict.fromkeys(target.classes if target.type == "multilabel" else target.classes[1:], threshold)
    elif threshold is not None:
        thresholds = threshold
    return Prediction(
        {name: float(p) for name, p in entry["probabilities"].items()},
        _label(entry["decision"]),
        thresholds,
        entry.get("calibrated", False),
        tuple(_slice_probabilities(target, values) for values in slices),
    )


def _slice_probabilities(target: Target, values: Any) -> dict[str, float] | None:
    """Return the probabilities of a slice by class; a number is the probability of a binary target's second class."""
    if isinstance(values, (int, float)):
        return {target.classes[0]: 1 - values, target.classes[1]: float(values)}
    return None if values is None else {name: float(p) for name, p in values.items()}


def _label(label: str | list[str]) -> Label:
    return label if isinstance(label, str) else tuple(label)
