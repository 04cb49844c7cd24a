"""From the scores of cases to the scores of a model: what happens with missed cases and false alarms is a named policy.

Each metric is summed up twice: over the cases in which reference and prediction both have voxels ("ok"), and over
these and the failures, which get the worst value there is ("penalised"). A mean over fewer cases than the reader
expects hides failures: n stands beside every mean.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from nnunet_multitask.evaluation.detection import Detection, pooled
from nnunet_multitask.evaluation.intervals import (
    MEAN_RESAMPLES,
    MEAN_UNITS,
    RESAMPLES,
    Interval,
    mean_intervals,
    units_of,
)
from nnunet_multitask.evaluation.lesions import LesionDetection
from nnunet_multitask.evaluation.segmentation import DISTANCES, NOT_ANNOTATED, OVERLAPS, BothEmpty, Status
from nnunet_multitask.evaluation.slices import pooled_slices
from nnunet_multitask.evaluation.volumes import volume_agreement

_WORST_VALUE = (
    "missed (only the reference has voxels) and false_positive (only the prediction has) count with DSC 0, IoU 0, "
    "NSD 0 and every distance equal to the diagonal of the image in mm. both_empty counts as a true negative "
)
_EMPTY_POLICIES: dict[BothEmpty, dict[str, str]] = {
    "undefined": {
        "name": "worst-value",
        "text": _WORST_VALUE + "and is left out of means; in a pair of models of which only one is both_empty, that "
        "one counts with DSC 1, distance 0.",
    },
    "one": {
        "name": "worst-value, both empty is one",
        "text": _WORST_VALUE + "and counts in the penalised means with DSC 1, IoU 1, NSD 1 and distance 0.",
    },
}
EMPTY_POLICY = _EMPTY_POLICIES["undefined"]
DEFINITIONS = {
    "ok": "over the cases in which reference and prediction both have voxels; n says how many",
    "penalised": "over these and the cases that the empty policy gives a value",
    "defined": "over all cases in which the number is defined",
    "interval": f"95 % BCa bootstrap interval of the mean, {MEAN_RESAMPLES:,} resamples of whole patients "
    f"({RESAMPLES:,} of more than {MEAN_UNITS:,} patients) with a fixed seed; from 10 patients on",
    "detection": "of scans: true positives are ok, misses missed, false positives false_positive, true negatives "
    "both_empty",
    "volume_agreement": "volume of the prediction against that of the reference, in mL, over all cases but both_empty",
    "abc2_agreement": "ABC/2 of the reference against its volume by voxels, in mL, over all cases with a reference",
}
PENALISED_METRICS = (*OVERLAPS, *DISTANCES)
OTHER_METRICS = ("sensitivity", "precision", "volume_ml", "volume_error_ml", "relative_volume_difference")

CaseScores = Mapping[str, Mapping[str, Mapping[str, Any]]]  # case id -> region -> metric -> value


def empty_policy(both_empty: BothEmpty) -> dict[str, str]:
    """Return name and text of the policy for empty masks."""
    return dict(_EMPTY_POLICIES[both_empty])


def summarise(
    cases: CaseScores, diagonals_mm: Mapping[str, float], region: str, patients: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Sum up one region over all cases.

    Args:
        cases: scores by case id and region, as `SegmentationMetrics.to_json` gives them; those of lesions and slices
            and the volume by ABC/2 are summed up where they stand beside.
        diagonals_mm: diagonal of the image by case id.
        region: which region.
        patients: whose each case is; intervals draw whole patients. None: every case is a patient of its own.

    Returns:
        {"status": counts, metric: {"ok": statistics, "penalised": statistics}}; metrics that know no worst value
        (volumes, sensitivity, precision) have "defined", over all cases in which they are defined, in its place. Each
        has an "interval" of the mean. Beside the metrics: "detection" of scans, "volume_agreement", "lesions",
        "slices", "abc2_agreement".
    """
    found = Counter(regions[region]["status"] for regions in cases.values())
    scores = annotated(cases, region)
    ok = {
        metric: {case_id: score[metric] for case_id, score in scores.items() if score["status"] == "ok"}
        for metric in PENALISED_METRICS + OTHER_METRICS
    }
    every = {
        metric: {
            case_id: value
            for case_id, score in scores.items()
            if (value := _every(score, metric, diagonals_mm[case_id])) is not None
        }
        for metric in PENALISED_METRICS + OTHER_METRICS
    }
    tables = {
        "ok": _statistics_of(ok, patients),
        "penalised": _statistics_of({m: every[m] for m in PENALISED_METRICS}, patients),
        "defined": _statistics_of({m: every[m] for m in OTHER_METRICS}, patients),
    }
    summary: dict[str, Any] = {"status": {name: found.get(name, 0) for name in get_args(Status)}}
    for metric in PENALISED_METRICS + OTHER_METRICS:
        kind = "penalised" if metric in PENALISED_METRICS else "defined"
        summary[metric] = {"ok": tables["ok"][metric], kind: tables[kind][metric]}
    return {**summary, **_detections(list(scores.values())), **_agreements(list(scores.values()))}


def annotated(cases: CaseScores, region: str) -> dict[str, Mapping[str, Any]]:
    """Return the scores of a region by case, without the cases whose reference is ignored everywhere."""
    scores = {case_id: regions[region] for case_id, regions in cases.items()}
    return {case_id: score for case_id, score in scores.items() if score["status"] != NOT_ANNOTATED}


def _every(score: Mapping[str, Any], metric: str, diagonal_mm: float) -> float | None:
    value: float | None = score[metric]
    return penalised(score, metric, diagonal_mm) if metric in PENALISED_METRICS else value


def _statistics_of(
    values: Mapping[str, Mapping[str, float]], patients: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """Return `statistics` with an "interval" of the mean of each metric, from its values by case id."""
    by_cases: dict[tuple[str, ...], list[str]] = {}
    for metric, found in values.items():
        by_cases.setdefault(tuple(found), []).append(metric)
    intervals: dict[str, Interval] = {}
    for case_ids, metrics in by_cases.items():
        table = np.array([list(values[metric].values()) for metric in metrics], dtype=np.float64)
        intervals |= mean_intervals(dict(zip(metrics, table, strict=True)), units_of(case_ids, patients))
    return {
        metric: {**statistics(found.values()), "interval": intervals[metric].to_json()}
        for metric, found in values.items()
    }


def penalised(score: Mapping[str, Any], metric: str, diagonal_mm: float) -> float | None:
    """Return a case's value of a metric in `PENALISED_METRICS` under the policy; None where it is left out."""
    if score["status"] in ("ok", "both_empty", NOT_ANNOTATED):
        return None if score[metric] is None else float(score[metric])
    return diagonal_mm if metric in DISTANCES else 0.0


def penalised_pairs(
    model: CaseScores, baseline: CaseScores, diagonals_mm: Mapping[str, float], region: str, metric: str
) -> dict[str, tuple[float, float]]:
    """Return (model, baseline) values of the same cases under the policy, by case id.

    Cases that are both_empty for both models are left out, unless the policy gives them a value; nothing else is.
    """
    perfect = 0.0 if metric in DISTANCES else 1.0
    pairs = {}
    for case_id, diagonal_mm in diagonals_mm.items():
        values = [penalised(scores[case_id][region], metric, diagonal_mm) for scores in (model, baseline)]
        if values != [None, None]:
            first, second = (perfect if value is None else value for value in values)
            pairs[case_id] = (first, second)
    return pairs


def _detections(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over all cases: scans, and lesions and slices where every case has them."""
    found = Counter(score["status"] for score in scores)
    scans = Detection(found["ok"], found["missed"], found["false_positive"], found["both_empty"])
    summary: dict[str, Any] = {"detection": scans.to_json()}
    if scores and all("lesions" in score for score in scores):
        lesions = pooled([score["lesions"] for score in scores], LesionDetection)
        per_scan = lesions.false_positives / len(scores)
        summary["lesions"] = {"n": len(scores), **lesions.to_json(), "false_positives_per_scan": per_scan}
    if scores and all("slices" in score for score in scores):
        summary["slices"] = pooled_slices([score["slices"] for score in scores])
    return summary


def _agreements(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Agreement of volumes: prediction with reference, and the reference by ABC/2 with its voxels."""
    bleeding = [score for score in scores if score["status"] != "both_empty"]
    summary = {"volume_agreement": _agreement(bleeding, "volume_ml")}
    if all("reference_abc2_ml" in score for score in scores):
        with_reference = [score for score in bleeding if score["status"] != "false_positive"]
        summary["abc2_agreement"] = _agreement(with_reference, "reference_abc2_ml")
    return summary


def _agreement(scores: Sequence[Mapping[str, Any]], measured: str) -> dict[str, Any]:
    return volume_agreement([score["reference_volume_ml"] for score in scores], [score[measured] for score in scores])


def statistics(values: Iterable[float]) -> dict[str, Any]:
    """Return n, mean, sample standard deviation, median, minimum, maximum; null with a reason where n is too small."""
    array = np.fromiter(values, dtype=np.float64)
    if not len(array):
        empty = dict.fromkeys(("mean", "std", "median", "min", "max"))
        return {"n": 0, **empty, "reason": "no_cases"}
    result: dict[str, Any] = {
        "n": len(array),
        "mean": float(array.mean()),
        "std": float(array.std(ddof=1)) if len(array) > 1 else None,
        "median": float(np.median(array)),
        "min": float(array.min()),
        "max": float(array.max()),
    }
    if len(array) == 1:
        result["reason"] = "std_needs_2_cases"
    return result


def diagonal(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> float:
    """Return the length in mm of the diagonal of an image: no two of its voxels are further apart."""
    return math.dist((0.0,) * len(shape), [n * s for n, s in zip(shape, spacing_mm, strict=True)])
