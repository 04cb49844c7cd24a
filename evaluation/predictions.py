"""Reading classification.json: the class probabilities that a model predicted for each case."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Target

CLASSIFICATION_NAME = "classification.json"
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Prediction:
    """What a model says of one case and target.

    Args:
        probabilities: by class name; both classes of a binary target are there.
        decision: a class name, or for a multilabel target a tuple of class names.
    """

    probabilities: Mapping[str, float]
    decision: str | tuple[str, ...]


@dataclass(frozen=True)
class Classification:
    """A whole classification.json.

    Args:
        path: where it was read.
        model: what is known of the model: trainer, plans, configuration, folds, checkpoint_sha256.
        targets: by name.
        cases: case id, then target name, to what was predicted.
    """

    path: Path
    model: Mapping[str, Any]
    targets: Mapping[str, Target]
    cases: Mapping[str, Mapping[str, Prediction]]


def read_classification(path: str | Path) -> Classification:
    """Read and check predicted class probabilities.

    Args:
        path: a classification.json.

    Raises:
        InputError: the file is missing or is no strict JSON (NaN is none).
        InputErrors: every fault of shape (schemas/classification.json), or else every case and target whose
            probabilities do not belong to the classes, lie outside [0, 1] or, for binary and multiclass targets, do
            not sum to 1 within 1e-3, and every decision for an unknown class.
    """
    path = Path(path)
    document = read_json(path)
    check_schema(document, CLASSIFICATION_NAME, path)
    targets = {
        name: Target(name=name, type=entry["type"], classes=tuple(entry["classes"]))
        for name, entry in document["targets"].items()
    }
    errors = [error for case_id, entry in document["cases"].items() for error in _faults(path, case_id, entry, targets)]
    if errors:
        raise InputErrors(errors)
    cases = {
        case_id: {name: _prediction(prediction) for name, prediction in entry["targets"].items()}
        for case_id, entry in document["cases"].items()
    }
    return Classification(path, document.get("model", {}), targets, cases)


def _prediction(entry: Mapping[str, Any]) -> Prediction:
    decision = entry["decision"]
    return Prediction(
        {name: float(p) for name, p in entry["probabilities"].items()},
        decision if isinstance(decision, str) else tuple(decision),
    )


def _faults(path: Path, case_id: str, entry: Mapping[str, Any], targets: Mapping[str, Target]) -> Iterator[InputError]:
    for name, prediction in entry["targets"].items():
        where = f"{path}: case {case_id}, target {name}"
        if name not in targets:
            yield InputError(
                "unknown-target",
                where,
                f"expected one of the declared targets {', '.join(targets)}, got {name}",
                'declare it under "targets"',
            )
            continue
        yield from _probability_faults(where, prediction["probabilities"], targets[name])
        yield from _decision_faults(where, prediction["decision"], targets[name])


def _probability_faults(where: str, probabilities: Mapping[str, float], target: Target) -> Iterator[InputError]:
    if set(probabilities) != set(target.classes):
        yield InputError(
            "bad-probabilities",
            where,
            f"expected a probability of each of {', '.join(target.classes)}, got {', '.join(probabilities) or 'none'}",
            "give one for each class and no other",
        )
        return
    for name, p in probabilities.items():
        if not (math.isfinite(p) and 0.0 <= p <= 1.0):
            yield InputError(
                "bad-probabilities",
                where,
                f"expected probabilities from 0 to 1, got {p:g} for {name}",
                "apply softmax or sigmoid: these look like logits",
            )
            return
    total = math.fsum(probabilities.values())
    if target.type != "multilabel" and abs(total - 1.0) > SUM_TOLERANCE:
        yield InputError(
            "bad-probabilities",
            where,
            f"expected probabilities that sum to 1 within {SUM_TOLERANCE:g} ({target.type}), got {total:.6g}",
            "normalise them, or declare the target multilabel",
        )


def _decision_faults(where: str, decision: str | list[str], target: Target) -> Iterator[InputError]:
    expected = "a list of classes" if target.type == "multilabel" else "one class"
    names = [decision] if isinstance(decision, str) else decision
    if isinstance(decision, str) == (target.type == "multilabel") or not set(names) <= set(target.classes):
        yield InputError(
            "bad-decision",
            where,
            f"expected {expected} among {', '.join(target.classes)}, got {decision}",
            "write the class names as the targets declare them",
        )
