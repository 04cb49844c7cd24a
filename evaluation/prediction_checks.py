"""What can be wrong in a classification.json of the right shape: probabilities, decisions, thresholds, references."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError
from nnunet_multitask.targets import Target, label_fault

SUM_TOLERANCE = 1e-3


def case_faults(
    path: Path, case_id: str, entry: Mapping[str, Any], targets: Mapping[str, Target]
) -> Iterator[InputError]:
    """Yield every fault of a case whose JSON has the right shape.

    Args:
        path: the file, for messages.
        case_id: which case.
        entry: what stands there, as schemas/classification.json describes it.
        targets: the declared ones.
    """
    slices, reference = entry.get("slices", {}), entry.get("reference", {})
    for name in dict.fromkeys([*entry["targets"], *slices, *reference]):
        where = f"{path}: case {case_id}, target {name}"
        if name not in targets:
            yield InputError(
                "unknown-target",
                where,
                f"expected one of the declared targets {', '.join(targets)}, got {name}",
                'declare it under "targets"',
            )
            continue
        if name in entry["targets"]:
            prediction = entry["targets"][name]
            yield from _probability_faults(where, prediction["probabilities"], targets[name])
            yield from _decision_faults(where, prediction["decision"], targets[name])
            yield from _threshold_faults(where, prediction.get("threshold"), targets[name])
        elif name in slices:
            fault = "expected probabilities of the case beside those of its slices, got none"
            yield InputError("missing-classification", where, fault, "write the case's own probabilities, too")
        yield from _slice_faults(where, slices.get(name, []), targets[name])
        yield from _reference_faults(where, reference.get(name), targets[name])


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


def _threshold_faults(where: str, threshold: Any, target: Target) -> Iterator[InputError]:
    unknown = sorted(set(threshold) - set(target.classes)) if isinstance(threshold, dict) else []
    if unknown:
        fault = f"expected thresholds of classes among {', '.join(target.classes)}, got {', '.join(unknown)}"
        yield InputError("bad-threshold", where, fault, "write the class names as the targets declare them")


def _slice_faults(where: str, slices: list[Any], target: Target) -> Iterator[InputError]:
    for index, given in enumerate(slices):
        values, place = given, f"{where}, slice {index}"
        if isinstance(values, (int, float)) and target.type != "binary":
            fault = f"expected a probability by class ({target.type}), got the number {values:g}"
            yield InputError("bad-probabilities", place, fault, "a number alone is for binary targets")
        elif values is not None:
            both = (
                {target.classes[1]: values, target.classes[0]: 1 - values} if not isinstance(values, dict) else values
            )
            yield from _probability_faults(place, both, target)


def _reference_faults(where: str, reference: Any, target: Target) -> Iterator[InputError]:
    label = tuple(reference) if isinstance(reference, list) else reference
    fault = None if label is None else label_fault(target, label)
    if fault is not None:
        yield InputError("unknown-class", f"{where}, reference", *fault)
