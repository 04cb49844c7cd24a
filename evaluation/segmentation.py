"""Overlap, boundary distance and volume of one predicted mask against its reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnunet_multitask.boxes import union_box
from nnunet_multitask.evaluation.surface import cropped_boundary_distances

Status = Literal["ok", "both_empty", "missed", "false_positive", "not_annotated"]
NOT_ANNOTATED: Status = "not_annotated"  # every voxel of the reference is ignored: there is nothing to compare with
BothEmpty = Literal["undefined", "one"]

MAX_SPACING_MM = 50.0  # no scanner has larger voxels: a larger value is another unit, or a broken header
DEFAULT_NSD_TOLERANCE_MM = 2.0
OVERLAPS = ("dsc", "iou", "nsd")
DISTANCES = ("hd", "hd95", "hd95_directed", "assd", "masd")
DEFINITIONS = {
    "dsc": "Dice similarity coefficient 2|P and R| / (|P| + |R|), P predicted and R reference voxels",
    "iou": "intersection over union |P and R| / |P or R|",
    "hd": "Hausdorff distance in mm: largest distance from a border voxel of one mask to the border of the other; "
    "border voxels have a face neighbour outside the mask or touch the array's edge (as medpy)",
    "hd95": "95th percentile, linear interpolation, of the pooled distances of both borders, in mm (as medpy)",
    "hd95_directed": "maximum of the two directed 95th percentiles, in mm (as MONAI and Metrics Reloaded)",
    "assd": "average symmetric surface distance in mm: mean of the pooled distances of both borders (as medpy)",
    "masd": "mean of the two directed mean border distances, in mm",
    "nsd": "normalized surface distance: share of the border voxels of both masks that lie within "
    f"{DEFAULT_NSD_TOLERANCE_MM:g} mm of the border of the other (as MONAI)",
    "sensitivity": "|P and R| / |R|, voxels",
    "precision": "|P and R| / |P|, voxels",
    "volume_ml": "volume of the prediction in mL",
    "reference_volume_ml": "volume of the reference in mL",
    "volume_error_ml": "volume of the prediction minus volume of the reference, in mL",
    "relative_volume_difference": "volume error divided by the volume of the reference",
}


@dataclass(frozen=True)
class SegmentationMetrics:
    """What `segmentation_metrics` returns; the meaning of each number stands in `DEFINITIONS`.

    ``status`` is "ok" (both masks have voxels), "both_empty", "missed" (only the reference has voxels) or
    "false_positive" (only the prediction has). Without a pair of borders the distances are infinite (missed,
    false_positive) or NaN (both_empty); a ratio with an empty denominator is NaN. Under ``both_empty="one"`` two empty
    masks agree perfectly instead: DSC, IoU and NSD are 1 and every distance is 0. A case whose reference is ignored
    everywhere is "not_annotated"; see `not_annotated`.
    """

    dsc: float
    iou: float
    hd: float
    hd95: float
    hd95_directed: float
    assd: float
    masd: float
    nsd: float
    sensitivity: float
    precision: float
    volume_ml: float
    reference_volume_ml: float
    volume_error_ml: float
    relative_volume_difference: float
    status: Status

    def to_json(self) -> dict[str, Any]:
        """Return a strict JSON object: what is not finite becomes null, with its reason under "reasons"."""
        document: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        reasons = {}
        for name, value in document.items():
            if isinstance(value, float) and not math.isfinite(value):
                document[name] = None
                reasons[name] = self.status
        if reasons:
            document["reasons"] = reasons
        return document


def definitions(nsd_tolerance_mm: float) -> dict[str, str]:
    """Return `DEFINITIONS` with the tolerance that was used."""
    named = f"{DEFAULT_NSD_TOLERANCE_MM:g} mm", f"{nsd_tolerance_mm:g} mm"
    return {**DEFINITIONS, "nsd": DEFINITIONS["nsd"].replace(*named)}


def not_annotated(volume_ml: float) -> dict[str, Any]:
    """Return the JSON object of a prediction without anything to compare it with: its volume in mL and nothing else."""
    absent = [field.name for field in fields(SegmentationMetrics) if field.name not in ("volume_ml", "status")]
    reasons = dict.fromkeys(absent, NOT_ANNOTATED)
    return {**dict.fromkeys(absent), "volume_ml": volume_ml, "status": NOT_ANNOTATED, "reasons": reasons}


def segmentation_metrics(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    spacing_mm: Sequence[float],
    nsd_tolerance_mm: float = DEFAULT_NSD_TOLERANCE_MM,
    both_empty: BothEmpty = "undefined",
) -> SegmentationMetrics:
    """Compare a predicted mask with its reference.

    Args:
        reference: (*S) bool, two or three axes as a rule; integers 0 and 1 are accepted too.
        prediction: (*S), likewise, on the same grid.
        spacing_mm: voxel size along each axis **in the order of the arrays' axes**; for (Z, Y, X) arrays (z, y, x).
        nsd_tolerance_mm: how far two borders may lie apart and still count as equal in NSD, 0 or more.
        both_empty: what two empty masks give: "undefined" (NaN) or "one" (perfect agreement).

    Returns:
        All metrics. Empty masks: see `SegmentationMetrics`.

    Raises:
        ValueError: where the shapes differ, the values are not 0 and 1, the spacing does not fit the axes, is not
            finite, is not positive or is above 50 mm, or an option is none of those named.
    """
    reference, prediction = _as_mask(reference, "reference"), _as_mask(prediction, "prediction")
    if reference.shape != prediction.shape:
        raise ValueError(f"expected masks of one shape, got reference {reference.shape}, prediction {prediction.shape}")
    spacing = _checked_spacing(spacing_mm, reference.ndim)
    _check_options(nsd_tolerance_mm, both_empty)
    voxel_ml = math.prod(float(s) for s in spacing) / 1000.0

    box = union_box(reference, prediction)
    if box is None:
        overlap, distance = (1.0, 0.0) if both_empty == "one" else (math.nan, math.nan)
        agreement = dict.fromkeys(OVERLAPS, overlap) | dict.fromkeys(DISTANCES, distance)
        return _from_counts((0, 0, 0), voxel_ml, "both_empty", agreement)
    reference, prediction = reference[box], prediction[box]
    in_reference = int(np.count_nonzero(reference))
    in_prediction = int(np.count_nonzero(prediction))
    counts = (in_reference, in_prediction, int(np.count_nonzero(reference & prediction)))
    if not in_reference or not in_prediction:
        status: Status = "false_positive" if in_prediction else "missed"
        return _from_counts(counts, voxel_ml, status, dict.fromkeys(OVERLAPS, 0.0) | dict.fromkeys(DISTANCES, math.inf))
    distances = cropped_boundary_distances(reference, prediction, spacing)
    agreement = {
        "dsc": 2.0 * counts[2] / (in_reference + in_prediction),
        "iou": counts[2] / (in_reference + in_prediction - counts[2]),
        "nsd": distances.nsd(nsd_tolerance_mm),
        **{name: getattr(distances, name) for name in DISTANCES},
    }
    return _from_counts(counts, voxel_ml, "ok", agreement)


def _from_counts(
    counts: tuple[int, int, int], voxel_ml: float, status: Status, agreement: dict[str, float]
) -> SegmentationMetrics:
    in_reference, in_prediction, in_both = counts
    error = in_prediction - in_reference
    return SegmentationMetrics(
        **agreement,
        sensitivity=_ratio(in_both, in_reference),
        precision=_ratio(in_both, in_prediction),
        volume_ml=in_prediction * voxel_ml,
        reference_volume_ml=in_reference * voxel_ml,
        volume_error_ml=error * voxel_ml,
        relative_volume_difference=_ratio(error, in_reference),
        status=status,
    )


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan


def _as_mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.dtype == bool:
        return array
    mask = array == 1
    if not np.array_equal(mask, array != 0):
        raise ValueError(f"expected a mask of 0 and 1, got other values in {name}")
    return mask


def _checked_spacing(spacing_mm: Sequence[float], axes: int) -> NDArray[np.float64]:
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape != (axes,):
        raise ValueError(f"expected {axes} spacings in mm, one per axis of the masks, got {spacing_mm}")
    if not (np.isfinite(spacing).all() and (spacing > 0).all() and (spacing <= MAX_SPACING_MM).all()):
        raise ValueError(f"expected spacings above 0 and at most {MAX_SPACING_MM:g} mm, got {spacing_mm}")
    return spacing


def _check_options(nsd_tolerance_mm: float, both_empty: str) -> None:
    if not (math.isfinite(nsd_tolerance_mm) and nsd_tolerance_mm >= 0):
        raise ValueError(f"expected a tolerance of 0 mm or more, got {nsd_tolerance_mm}")
    if both_empty not in get_args(BothEmpty):
        raise ValueError(f"expected both_empty to be one of {', '.join(get_args(BothEmpty))}, got {both_empty!r}")
