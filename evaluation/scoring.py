"""Scoring one case: two masks are read, checked, cut to what they hold, and compared region by region."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.boxes import Box, join_boxes
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.aggregation import diagonal
from nnunet_multitask.evaluation.components import find_lesions
from nnunet_multitask.evaluation.diameters import lesion_sizes
from nnunet_multitask.evaluation.lesions import ANY_OVERLAP, LesionRule, match_lesions
from nnunet_multitask.evaluation.regions import Regions
from nnunet_multitask.evaluation.segmentation import (
    DEFAULT_NSD_TOLERANCE_MM,
    BothEmpty,
    not_annotated,
    segmentation_metrics,
)
from nnunet_multitask.evaluation.slices import SliceQuestion, slice_detection, slice_scores
from nnunet_multitask.files import Volume, check_same_geometry, read_mask
from nnunet_multitask.geometry import axial_axis
from nnunet_multitask.targets import Label

DEFINITIONS = {"largest_lesion_ml": "volume of the largest lesion (26-connected part) of the prediction, in mL"}


@dataclass(frozen=True)
class ScoringOptions:
    """How masks are compared.

    Args:
        geometry_tolerance_mm: how far corresponding corners of two masks may lie apart.
        nsd_tolerance_mm, both_empty: see `segmentation_metrics`.
        lesion_rule: when a lesion counts as found; see `lesions`.

    Raises:
        ValueError: an unknown rule.
    """

    geometry_tolerance_mm: float = 1e-3
    nsd_tolerance_mm: float = DEFAULT_NSD_TOLERANCE_MM
    both_empty: BothEmpty = "undefined"
    lesion_rule: str = ANY_OVERLAP

    def __post_init__(self) -> None:
        LesionRule.parse(self.lesion_rule)


@dataclass(frozen=True)
class CaseTask:
    """One case to score.

    Args:
        case_id: for messages.
        reference: the mask of the reference.
        prediction: the predicted mask; None where there is none, which counts as an empty one.
        regions: what is scored.
        options: how.
        slices: labels of the axial slices by target, from the sidecar.
        questions: which of these labels are held against which regions.
    """

    case_id: str
    reference: Path
    prediction: Path | None
    regions: Regions
    options: ScoringOptions = field(default_factory=ScoringOptions)
    slices: Mapping[str, Sequence[Label | None]] = field(default_factory=dict)
    questions: Sequence[SliceQuestion] = ()


@dataclass(frozen=True)
class CaseScore:
    """What `score_case` found: geometry of the case, scores by region, both as strict JSON, and warnings."""

    geometry: dict[str, Any]
    regions: dict[str, dict[str, Any]]
    warnings: tuple[InputError, ...]


@dataclass(frozen=True)
class _Held:
    """What a mask holds, without the background around it: of a scan of a head, a hundredth of the memory.

    Args:
        scan: shape, geometry and warnings; its voxels are all 0 and take no memory.
        box: where the voxels other than 0 lie; None where there are none.
        part: the voxels of the box.
    """

    scan: Volume
    box: Box | None
    part: NDArray[Any]

    @classmethod
    def of(cls, mask: Volume) -> _Held:
        array, box = mask.array, mask.held_box
        part = np.zeros(0, array.dtype) if box is None else array[box].copy()
        return cls(replace(mask, array=np.broadcast_to(array.dtype.type(0), array.shape)), box, part)

    def within(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box that holds that of the mask."""
        if self.box == box:
            return self.part
        whole = np.zeros([axis.stop - axis.start for axis in box], self.part.dtype)
        if self.box is not None:
            place = zip(self.box, box, strict=True)
            whole[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in place)] = self.part
        return whole


def score_case(task: CaseTask) -> CaseScore | list[InputError]:
    """Return the scores of one case, or every fault that forbids to score it."""
    errors: list[InputError] = []
    masks: list[_Held] = []
    for path, allowed in (
        (task.reference, task.regions.allowed_in_reference),
        (task.prediction, task.regions.allowed_in_prediction),
    ):
        if path is not None:
            try:
                masks.append(_Held.of(read_mask(path, allowed)))
            except InputError as error:
                errors.append(error)
    if errors:
        return errors
    reference, prediction = masks[0].scan, masks[1].scan if len(masks) > 1 else None
    try:
        if prediction is not None:
            check_same_geometry(reference, prediction, task.options.geometry_tolerance_mm)
        _check_slices(task, reference)
    except InputError as error:
        return [error]
    geometry = {
        "shape": list(reference.array.shape),
        "spacing_mm": list(reference.spacing_mm),
        "diagonal_mm": diagonal(reference.array.shape, reference.spacing_mm),
        "axial_axis": axial_axis(reference.affine),
        "prediction": "missing" if prediction is None else "found",
    }
    if task.regions.ignore is not None and (ignored := int(np.count_nonzero(masks[0].part == task.regions.ignore))):
        geometry["ignored_voxels"] = ignored
    repaired = {"reference": reference.repaired_voxels, "prediction": prediction.repaired_voxels if prediction else 0}
    if any(repaired.values()):
        geometry["repaired_voxels"] = repaired
    warnings = tuple(warning for mask in masks for warning in mask.scan.warnings)
    return CaseScore(geometry, _score_regions(task, masks), warnings)


def _check_slices(task: CaseTask, reference: Volume) -> None:
    for target in dict.fromkeys(question.target for question in task.questions):
        labels, depth = task.slices.get(target), len(reference.array)
        if labels is not None and len(labels) != depth:
            raise InputError(
                "slice-count-differs",
                f"class labels: cases/{task.case_id}/slices/{target}",
                f"expected a label for each of the {depth} axial slices of {reference.path}, got {len(labels)}",
                "correct the sidecar, or leave the slices of this case out",
            )


def _score_regions(task: CaseTask, masks: Sequence[_Held]) -> dict[str, dict[str, Any]]:
    """Scores by region of a reference and, unless it is missing, a prediction."""
    shape, axial = masks[0].scan.array.shape, axial_axis(masks[0].scan.affine)
    # everything outside the box is background in both
    held = [mask.box for mask in masks if mask.box is not None]
    box = join_boxes(held) if held else (slice(0, 1),) * 3
    true_labels = masks[0].within(box)
    labels = masks[1].within(box) if len(masks) > 1 else np.zeros(true_labels.shape, np.uint8)
    scored_labels = labels if task.regions.ignore is None else np.where(true_labels == task.regions.ignore, 0, labels)
    if int(np.count_nonzero(true_labels == task.regions.ignore)) == math.prod(shape):
        return {name: _unscored(task.regions.mask(labels, name), masks[0].scan) for name in task.regions.values}
    by_values: dict[tuple[int, ...], dict[str, Any]] = {}
    scores = {}
    for name, values in task.regions.values.items():
        if values not in by_values:
            found = task.regions.mask(true_labels, name), task.regions.mask(scored_labels, name)
            by_values[values] = _score_masks(*found, masks[0].scan, axial, task.options)
        scores[name] = by_values[values]
        asked = [question for question in task.questions if question.region == name and question.target in task.slices]
        if asked:
            called = np.zeros(shape[0], dtype=bool)
            called[box[0]] = task.regions.mask(labels, name).any(axis=(1, 2))
            sidecar: dict[str, dict[str, Any]] = {}
            for question in asked:
                detected = slice_detection(question, task.slices[question.target], called)
                sidecar.setdefault(question.target, {})[question.positive] = detected
            scores[name] = {**scores[name], "slices": {**scores[name]["slices"], "sidecar": sidecar}}
    return scores


def _unscored(prediction: NDArray[np.bool_], scan: Volume) -> dict[str, Any]:
    """What is known of a region where every voxel of the reference is ignored: the size of the whole prediction."""
    voxel_ml = math.prod(scan.spacing_mm) / 1000
    largest = float(find_lesions(prediction).voxels.max(initial=0)) * voxel_ml
    return {**not_annotated(int(np.count_nonzero(prediction)) * voxel_ml), "largest_lesion_ml": largest}


def _score_masks(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    scan: Volume,
    axial: int,
    options: ScoringOptions,
) -> dict[str, Any]:
    """Every score of a region; the masks are parts of a scan, whose axial slices are along the named axis."""
    spacing_mm = scan.spacing_mm
    score = segmentation_metrics(
        reference,
        prediction,
        spacing_mm=spacing_mm,
        nsd_tolerance_mm=options.nsd_tolerance_mm,
        both_empty=options.both_empty,
    )
    reference, prediction = np.moveaxis(reference, axial, 0), np.moveaxis(prediction, axial, 0)
    lesions, predicted = find_lesions(reference), find_lesions(prediction)
    diameter_mm, abc2_ml = lesion_sizes(lesions, [spacing_mm[axial], *np.delete(spacing_mm, axial)])
    return {
        **score.to_json(),
        "reference_largest_diameter_mm": diameter_mm,
        "reference_abc2_ml": abc2_ml,
        "largest_lesion_ml": float(predicted.voxels.max(initial=0)) * math.prod(spacing_mm) / 1000,
        "lesions": match_lesions(lesions, predicted, LesionRule.parse(options.lesion_rule)).to_json(),
        "slices": slice_scores(reference, prediction, scan.array.shape[axial]),
    }
