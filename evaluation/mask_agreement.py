"""Whether the mask and the decided class of the same model speak of the same thing, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_multitask.evaluation.report_texts import model_names

# class decided, region in the mask; in the order of `Agreement`
_PAIRS = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True)
class Agreement:
    """Counts of the cases of one model and class.

    Args:
        model, name, region: model, class, and the region of the mask that belongs to the class.
        both: class decided and region in the mask.
        class_only: class decided, no voxel of the region.
        mask_only: voxels of the region, class not decided.
        neither: none of both.
        contradicting: the cases of class_only and mask_only.
    """

    model: str
    name: str
    region: str
    both: int
    class_only: int
    mask_only: int
    neither: int
    contradicting: tuple[str, ...]


def mask_agreements(comparison: Mapping[str, Any], target: str) -> list[Agreement]:
    """Hold decided classes against predicted masks; empty where no region means a class by being there.

    Args:
        comparison: the document of comparison.json; which region belongs to which class stands under
            "mask_classification" of the models.
        target: its name.
    """
    found = []
    for model in model_names(comparison):
        entry = comparison["models"][model]
        decided = entry["classification"].get(target, {}).get("cases", {})
        rules = (entry.get("mask_classification") or {}).get(target, {})
        # elsewhere a region does not speak of a class by being there, only by its volume
        places = rules["regions"] if "any_voxel" in rules.get("rules", {}) else {}
        for name, region in places.items():
            pairs = {}
            for case_id, record in decided.items():
                decision = record["decision"]
                called = name == decision if isinstance(decision, str) else name in decision
                pairs[case_id] = (called, entry["segmentation"]["cases"][case_id][region]["volume_ml"] > 0)
            if pairs:
                both, class_only, mask_only, neither = (list(pairs.values()).count(pair) for pair in _PAIRS)
                contradicting = tuple(case_id for case_id, (called, masked) in pairs.items() if called != masked)
                found.append(Agreement(model, name, region, both, class_only, mask_only, neither, contradicting))
    return found
