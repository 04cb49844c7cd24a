"""What a multi-task training writes into its plans, from where the network is built again at inference."""

from __future__ import annotations

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
