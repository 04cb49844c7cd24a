"""Slice-level scores of masks: overlap on the slices with a lesion, and which slices a mask calls positive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.detection import Detection, pooled
from nnunet_multitask.evaluation.regions import Regions
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.targets import Label

DEFINITIONS = {
    "dsc": "mean DSC of the axial slices on which the reference has voxels; over all cases, each slice counts once",
    "true_positives": "slices on which both reference and prediction have voxels (one is enough)",
    "misses": "slices on which only the reference has",
    "false_positives": "slices on which only the prediction has",
    "true_negatives": "slices on which neither has",
    "sidecar": "the same counts, with the label of the slice in class_labels.json as reference: of a class whose "
    "present_if_label are the labels of the region, or that has its name; slices without a label are left out and "
    "counted as unlabelled",
}


@dataclass(frozen=True)
class SliceDetection(Detection):
    """Slices of one scan, or of several together, against labels of slices."""

    true_negatives: int | None = 0
    unlabelled: int = 0


@dataclass(frozen=True)
class SliceQuestion:
    """A class of a target that asks of each slice what a region of the mask asks, too."""

    target: str
    positive: str
    region: str

    def is_positive(self, label: Label | None) -> bool | None:
        """Return whether a slice of this label has the class; None where the label is unknown."""
        if label is None:
            return None
        return label == self.positive if isinstance(label, str) else self.positive in label


def slice_questions(sidecar: LabelSidecar | None, regions: Regions) -> list[SliceQuestion]:
    """Return which classes of labels per slice can be held against which regions of masks.

    A class belongs to the region whose mask labels are its ``present_if_label``, or to the region of its own name. The
    negative class of a binary target belongs to none.
    """
    if sidecar is None:
        return []
    with_slices = {name for case in sidecar.cases.values() for name in case.slices}
    questions = []
    for target in (target for name, target in sidecar.targets.items() if name in with_slices):
        for positive in target.classes[1:] if target.type == "binary" else target.classes:
            values = target.present_if_label.get(positive)
            questions += [
                SliceQuestion(target.name, positive, region)
                for region, labels in regions.values.items()
                if (region == positive if values is None else set(labels) == set(values))
            ]
    return questions


def slice_scores(reference: NDArray[np.bool_], prediction: NDArray[np.bool_], slices: int) -> dict[str, Any]:
    """Score a mask slice by slice.

    Args:
        reference: (Z, Y, X) bool; slices without a voxel may have been cut off.
        prediction: likewise, on the same grid.
        slices: how many the whole scan has.

    Returns:
        A strict JSON object: "n" slices, "dsc", the counts and ratios of `Detection`; null with a reason under
        "reasons".
    """
    in_reference, in_prediction, in_both = (
        np.array([np.count_nonzero(part) for part in mask])  # several times faster than along axes
        for mask in (reference, prediction, reference & prediction)
    )
    positive, called = in_reference > 0, in_prediction > 0
    counts = _detection(positive, called, slices - len(positive)).to_json()
    dsc = 2 * in_both[positive] / (in_reference + in_prediction)[positive]
    return _with_dsc(counts, slices, float(dsc.mean()) if len(dsc) else None)


def slice_detection(
    question: SliceQuestion, labels: Sequence[Label | None], called_positive: NDArray[np.bool_]
) -> dict[str, Any]:
    """Hold the slices that a mask calls positive against the labels of the slices.

    Args:
        question: which class.
        labels: (Z,) label of each slice, None where unknown.
        called_positive: (Z,) bool.

    Returns:
        A strict JSON object, as `Detection.to_json` makes it, with "unlabelled" slices.
    """
    answers = [question.is_positive(label) for label in labels]
    known = np.array([answer is not None for answer in answers], dtype=bool)
    positive = np.array([bool(answer) for answer in answers], dtype=bool)
    found = _detection(positive[known], called_positive[known])
    return SliceDetection(
        found.true_positives, found.misses, found.false_positives, found.true_negatives, int((~known).sum())
    ).to_json()


def pooled_slices(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up what `slice_scores` and `slice_detection` found in several scans; each slice counts once.

    Args:
        scores: at least one result of `slice_scores`, each with those of `slice_detection` by target and class under
            "sidecar".
    """
    counts = pooled(scores, Detection).to_json()
    positives = [(score["dsc"], score["true_positives"] + score["misses"]) for score in scores]
    n = sum(number for _, number in positives)
    dsc = math.fsum(value * number for value, number in positives if number) / n if n else None
    document = _with_dsc(counts, sum(score["n"] for score in scores), dsc)
    sidecar: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for score in scores:
        for target, classes in score.get("sidecar", {}).items():
            for name, found in classes.items():
                sidecar.setdefault(target, {}).setdefault(name, []).append(found)
    if sidecar:
        document["sidecar"] = {
            target: {name: pooled(found, SliceDetection).to_json() for name, found in classes.items()}
            for target, classes in sidecar.items()
        }
    return document


def _detection(positive: NDArray[np.bool_], called: NDArray[np.bool_], empty: int = 0) -> Detection:
    """Counts of slices (Z,); `empty` more are neither positive nor called so."""
    return Detection(
        true_positives=int(np.count_nonzero(positive & called)),
        misses=int(np.count_nonzero(positive & ~called)),
        false_positives=int(np.count_nonzero(~positive & called)),
        true_negatives=int(np.count_nonzero(~positive & ~called)) + empty,
    )


def _with_dsc(counts: dict[str, Any], slices: int, dsc: float | None) -> dict[str, Any]:
    reasons = counts.pop("reasons", {}) | ({"dsc": "no_positive_reference"} if dsc is None else {})
    document = {"n": slices, "dsc": dsc, **counts}
    return {**document, "reasons": reasons} if reasons else document
