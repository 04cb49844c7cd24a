"""What a multi-task training writes into its plans, from where the network is built again at inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.training.patch_labels import targets_of_patches


def branch_block(sidecar: LabelSidecar, has_regions: bool) -> dict[str, Any]:
    """Return the entries of the plans' ``multitask`` block that follow from the dataset.

    Args:
        sidecar: class labels of the dataset.
        has_regions: the segmentation's labels are regions.
    """
    return {
        "targets": {name: target.to_json() for name, target in sidecar.targets.items()},
        "has_regions": has_regions,
        "patch_targets": targets_of_patches(sidecar),
    }


def changed_targets(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return both targets as a message shows them, None where a network for the ones is a network for the others.

    Descriptions may change. Shown are the classes, and of a target that keeps its classes all that makes it up.

    Args:
        before, now: the entry "targets" of two blocks.
    """
    sides = [
        {name: {key: value for key, value in target.items() if key != "description"} for name, target in side.items()}
        for side in (before, now)
    ]
    if sides[0] == sides[1]:
        return None

    def shown(side: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: target
            if target != other.get(name, target) and target["classes"] == other[name]["classes"]
            else target["classes"]
            for name, target in side.items()
        }

    return shown(*sides), shown(*reversed(sides))
