"""From scans to slices and patients: what is scored beside the scan, and what is the truth of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnunet_multitask.evaluation.predictions import Prediction, Probabilities, decide
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Label, Target

Rule = Literal["any", "mean"]

LEVEL_TEXTS = {
    "slice": "every axial slice with a known label; its decision is made with the threshold of its scan",
    "patient_any_scan": "a patient is called positive when any of the scans is; the probability is the largest one",
    "patient_mean_scan": "a patient has the mean probability of the scans, and the decision that it means",
    "patient_any_slice": "a patient is called positive when any slice of any scan is; the probability is the largest",
    "patient_mean_slice": "a patient has the mean probability of all slices, and the decision that it means",
}


@dataclass(frozen=True)
class Item:
    """A scan, slice or patient to score.

    Args:
        name: case id, case id and slice, or patient.
        patient: whose it is; items of one patient are not independent.
        reference: the true label, None where it is unknown.
        probabilities: predicted, by class.
        decision: what was decided.
        thresholds: what it was decided with; see `predictions.decide`.
    """

    name: str
    patient: str
    reference: Label | None
    probabilities: Probabilities
    decision: Label
    thresholds: Mapping[str, float] | None = None


def patient_of(sidecar: LabelSidecar, case_id: str) -> str:
    """Return the patient of a case; a case without a group is its own patient."""
    group = sidecar.cases.get(case_id, Case()).group
    return f"case {case_id}" if group is None else group


def slice_items(
    target: Target, case_id: str, patient: str, prediction: Prediction, labels: Sequence[Label | None]
) -> list[Item]:
    """Return the slices of a scan, unknown ones among them.

    Args:
        target: which target.
        case_id, patient: of the scan.
        prediction: with slices.
        labels: of the slices, as many as the prediction has.
    """
    return [
        Item(
            f"{case_id}#{index}",
            patient,
            label,
            probabilities,
            decide(target, probabilities, prediction.thresholds),
            prediction.thresholds,
        )
        for index, (probabilities, label) in enumerate(zip(prediction.slices, labels, strict=True))
        if probabilities is not None
    ]


def patient_items(target: Target, parts: Iterable[Item], rule: Rule) -> tuple[list[Item], dict[str, int]]:
    """Join the scans or slices of each patient.

    The truth of a patient: a class of a binary or multilabel target is present when any part has it, absent when every
    part is known not to have it, and unknown otherwise; of a multiclass target all parts must be known and alike.

    Args:
        target: which target.
        parts: scans or slices.
        rule: "any", the largest probability and any positive decision (not for multiclass); "mean", the mean
            probability and the decision that it means at the mean of the parts' thresholds.

    Returns:
        The patients whose truth is known, and how many were left out: "unknown", "contradictory".

    Raises:
        ValueError: the rule "any" for a multiclass target: no class of it is the positive one.
    """
    if rule == "any" and target.type == "multiclass":
        raise ValueError("expected the rule mean for a multiclass target, got any")
    patients: dict[str, list[Item]] = defaultdict(list)
    for part in parts:
        patients[part.patient].append(part)
    items, left_out = [], {"unknown": 0, "contradictory": 0}
    for patient, members in patients.items():
        reference, why = _joint_reference(target, [part.reference for part in members])
        if reference is None:
            left_out[why] += 1
        else:
            probabilities, decision = _joint_prediction(target, members, rule)
            items.append(Item(patient, patient, reference, probabilities, decision))
    return items, left_out


def _joint_reference(target: Target, references: Sequence[Label | None]) -> tuple[Label | None, str]:
    """Return the label that the parts together mean, or None and why there is none."""
    known = [label for label in references if label is not None]
    unknown = len(known) < len(references)
    if target.type == "multiclass":
        if unknown:
            return None, "unknown"
        return (known[0], "") if len(set(known)) == 1 else (None, "contradictory")
    if target.type == "binary":
        if target.classes[1] in known:
            return target.classes[1], ""
        return (None, "unknown") if unknown else (target.classes[0], "")
    present = {name for label in known for name in label}
    if unknown and len(present) < len(target.classes):
        return None, "unknown"
    return tuple(name for name in target.classes if name in present), ""


def _joint_prediction(target: Target, parts: Sequence[Item], rule: Rule) -> tuple[dict[str, float], Label]:
    if rule == "mean":
        probabilities = {name: float(np.mean([p.probabilities[name] for p in parts])) for name in target.classes}
        return probabilities, decide(target, probabilities, _mean_thresholds(parts))
    highest = {name: max(part.probabilities[name] for part in parts) for name in target.classes}
    decided = {
        name for part in parts for name in ([part.decision] if isinstance(part.decision, str) else part.decision)
    }
    if target.type == "binary":
        negative, positive = target.classes
        return (
            {negative: 1 - highest[positive], positive: highest[positive]},
            positive if positive in decided else negative,
        )
    return highest, tuple(name for name in target.classes if name in decided)


def _mean_thresholds(parts: Sequence[Item]) -> dict[str, float] | None:
    given = [part.thresholds for part in parts if part.thresholds is not None]
    if len(given) < len(parts):
        return None
    return {name: float(np.mean([thresholds[name] for thresholds in given if name in thresholds])) for name in given[0]}
