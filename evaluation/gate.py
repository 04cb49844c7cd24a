"""The class as a gate: what clearing the mask of scans that are called negative does to false alarms and to misses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.aggregation import CaseScores, annotated
from nnunet_multitask.evaluation.intervals import wilson_interval
from nnunet_multitask.evaluation.predictions import Classification, Probabilities
from nnunet_multitask.targets import Label, Target

DEFINITIONS = {
    "gate": "the mask of a scan is cleared where the classification calls it negative",
    "healthy": "scans whose reference has no voxel of the region",
    "healthy_with_mask": "healthy scans with a predicted voxel: how many, their share with Wilson's interval",
    "false_positive_ml": "predicted volume outside the reference, in mL, over all scans",
    "healthy_false_positive_ml": "the part of it in healthy scans",
    "missed": "scans with a reference and no predicted voxel",
    "wrongly_cleared": "scans with a reference whose mask was not empty before the gate, and the gate cleared it",
    "dsc": "mean DSC over scans with a reference or a predicted voxel before the gate; a missed or wrongly cleared "
    "scan and a false alarm count 0, a false alarm that the gate clears counts 1",
    "curve": "the same counts for thresholds of the probability to be positive",
}
CURVE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(21))


def parse_gate(text: str) -> tuple[str, str | None]:
    """Return target and negative class of "TARGET" or "TARGET=NEGATIVE CLASS"."""
    target, _, negative = text.partition("=")
    return target, negative or None


def gate_document(
    predicted: Classification, cases: CaseScores, target_name: str, negative: str | None = None
) -> dict[str, Any]:
    """Return what the decisions of a target as a gate would change, by region.

    Args:
        predicted: decisions and probabilities of the scans; calibrated ones at an operating point are meant to be used.
        cases: scores of the predicted masks by case and region.
        target_name: the target that decides.
        negative: the class that clears the mask; by default the first of a binary target, and of a multilabel target no
            class at all.

    Returns:
        {"target", "negative", "calibrated", "thresholds", "cases", "closed", "without_decision", "regions"}; a scan
        without a decision keeps its mask and is counted.

    Raises:
        InputError: an unknown target, a multiclass target without a negative class, or one that it does not know.
    """
    negative = check_gate(predicted, target_name, negative)
    decided = {
        case_id: predicted.cases[case_id][target_name]
        for case_id in cases
        if target_name in predicted.cases.get(case_id, {})
    }
    closed = {case_id for case_id, entry in decided.items() if is_negative(entry.decision, negative)}
    positive = {case_id: _positive(entry.probabilities, negative) for case_id, entry in decided.items()}
    first = next(iter(decided.values()), None)
    regions = list(next(iter(cases.values()))) if cases else []
    return {
        "target": target_name,
        "negative": negative,
        "calibrated": bool(decided) and all(entry.calibrated for entry in decided.values()),
        "thresholds": None if first is None or first.thresholds is None else dict(first.thresholds),
        "cases": len(cases),
        "closed": len(closed),
        "without_decision": len(cases) - len(decided),
        "regions": {region: _region(cases, region, closed, positive) for region in regions},
    }


def check_gate(predicted: Classification, target_name: str, negative: str | None = None) -> str | None:
    """Return the class that clears the mask; arguments and errors as `gate_document`."""
    if target_name not in predicted.targets:
        fault = f"expected one of the targets {', '.join(predicted.targets)}, got {target_name}"
        raise InputError("bad-gate", predicted.path, fault, "name one of them")
    return negative_class(predicted.targets[target_name], negative)


def negative_class(target: Target, negative: str | None = None) -> str | None:
    """Return the class that clears the mask, None where no class at all does (multilabel).

    Args:
        target: type and classes.
        negative: as the user named it; by default the first of a binary target.

    Raises:
        InputError: a multiclass target without one, a class that it does not know, any class of a multilabel target.
    """
    where = f"target {target.name}"
    if target.type == "multilabel":
        if negative is not None:
            fault = f"expected no class (of a multilabel target none at all is negative), got {negative}"
            raise InputError("bad-gate", where, fault, f"write --gate {target.name}")
        return None
    if negative is None and target.type == "binary":
        return target.classes[0]
    if negative not in target.classes:
        fault = f"expected the class that clears the mask among {', '.join(target.classes)}, got {negative or 'none'}"
        raise InputError("bad-gate", where, fault, f"write for example --gate {target.name}={target.classes[0]}")
    return negative


def is_negative(decision: Label, negative: str | None) -> bool:
    """Tell whether a decision clears the mask; ``negative`` as `negative_class` returns it."""
    return not decision if negative is None else decision == negative


def gate_effect(cases: CaseScores, region: str, closed: set[str]) -> dict[str, Any]:
    """Return false alarms and misses of one region before and after the masks of some scans are cleared.

    Args:
        cases: scores of the predicted masks by case and region.
        region: which one.
        closed: the cases whose mask is cleared.

    Returns:
        Numbers as `DEFINITIONS` explains them, {"before", "after"} where the gate can change them; a share or mean over
        no scan is null with the reason "no_cases".
    """
    scores = annotated(cases, region)
    healthy = [c for c, score in scores.items() if score["status"] in ("both_empty", "false_positive")]
    ill = [c for c in scores if c not in set(healthy)]
    document: dict[str, Any] = {"healthy": len(healthy), "with_reference": len(ill)}
    document["wrongly_cleared"] = sum(scores[c]["status"] == "ok" and c in closed for c in ill)
    moments: dict[str, dict[str, Any]] = {}
    for moment, cleared in (("before", set()), ("after", closed)):
        kept = {c: score for c, score in scores.items() if c not in cleared}
        with_mask = sum(scores[c]["status"] == "false_positive" for c in healthy if c in kept)
        missed = sum(scores[c]["status"] == "missed" or c not in kept for c in ill)
        dsc = [_dsc(score, c in kept) for c, score in scores.items() if score["status"] != "both_empty"]
        moments[moment] = {
            "healthy_with_mask": _share(with_mask, len(healthy)),
            "missed": _share(missed, len(ill)),
            "false_positive_ml": float(sum(_false_positive_ml(score) for score in kept.values())),
            "healthy_false_positive_ml": float(sum(_false_positive_ml(kept[c]) for c in healthy if c in kept)),
            "dsc": {"mean": float(np.mean(dsc)), "n": len(dsc)}
            if dsc
            else {"mean": None, "n": 0, "reason": "no_cases"},
        }
    return document | {name: {m: values[name] for m, values in moments.items()} for name in moments["before"]}


def _region(cases: CaseScores, region: str, closed: set[str], positive: Mapping[str, float]) -> dict[str, Any]:
    curve = []
    for threshold in CURVE_THRESHOLDS:
        effect = gate_effect(cases, region, {case_id for case_id, p in positive.items() if p < threshold})
        curve.append(
            {
                "threshold": threshold,
                "healthy_with_mask": effect["healthy_with_mask"]["after"]["n"],
                "missed": effect["missed"]["after"]["n"],
                "false_positive_ml": effect["false_positive_ml"]["after"],
                "dsc": effect["dsc"]["after"]["mean"],
            }
        )
    return {**gate_effect(cases, region, closed), "curve": curve}


def _positive(probabilities: Probabilities, negative: str | None) -> float:
    return max(probabilities.values()) if negative is None else 1 - probabilities[negative]


def _false_positive_ml(score: Mapping[str, Any]) -> float:
    return 0.0 if score["precision"] is None else float(score["volume_ml"] * (1 - score["precision"]))


def _dsc(score: Mapping[str, Any], kept: bool) -> float:
    """Return a scan's DSC: a cleared mask finds nothing, and is right where there is nothing to find."""
    if score["status"] == "ok":
        return float(score["dsc"]) if kept else 0.0
    return 1.0 if score["status"] == "false_positive" and not kept else 0.0


def _share(count: int, n: int) -> dict[str, Any]:
    share: dict[str, Any] = {
        "n": count,
        "share": count / n if n else None,
        "interval": wilson_interval(count, n).to_json(),
    }
    return share if n else share | {"reason": "no_cases"}
