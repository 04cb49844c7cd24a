"""The label of a patch: from its own mask, from the slices that it shows, or else from its case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nnunet_multitask.errors import InputErrors
from nnunet_multitask.labels import LabelSidecar, Target, has_regions, rule_faults
from nnunet_multitask.losses.classification import UNKNOWN
from nnunet_multitask.training.patches import SLICES
from nnunet_multitask.training.supervision import CaseLabels, patch_has_foreground


class PatchLabels:
    """Says what the patches of a batch show, by the most direct evidence that there is for each class.

    For a class of ``present_if_label`` the mask of the patch decides: the class is there from ``min_voxels`` voxels of
    its mask labels on, is not there where there is none of them and no ignored voxel, and is unknown in between. For
    a case with ``slices`` of the target it is the union over the slices that the patch shows. A case known to lack
    the class has no patch with it. Any other patch carries the label of its case, with less weight where it shows no
    foreground.

    Args:
        case_labels: the labels of the cases.
        sidecar: their slices.
        segments: the mask values of each label or region in the order of the network's channels, without background
            and ignore label; several values make a region.
        ignore_label: the ignore label of the mask, None where there is none.
        empty_patch_weight: weight, 0 to 1, of a patch without foreground that carries the label of its case.
        where: file that an error names.

    Raises:
        InputErrors: ``present_if_label`` lists mask labels that there are not, or with regions that are no region.
    """

    def __init__(
        self,
        case_labels: CaseLabels,
        sidecar: LabelSidecar,
        *,
        segments: Sequence[Sequence[int]],
        ignore_label: int | None,
        empty_patch_weight: float,
        where: str,
    ) -> None:
        self.case_labels = case_labels
        self.targets = case_labels.targets
        self.has_regions = has_regions(segments)
        self.ignore_label = ignore_label
        self.empty_patch_weight = empty_patch_weight
        if faults := rule_faults(self.targets.values(), segments, where):
            raise InputErrors(faults)
        self._segments = [set(values) for values in segments]
        self._slices = {
            (case_id, name): [None if label is None else self.targets[name].encode(label) for label in labels]
            for case_id, case in sidecar.cases.items()
            for name, labels in case.slices.items()
        }

    def batch(
        self, batch: Mapping[str, Any], finest: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return labels and weights of a batch's patches.

        Args:
            batch: nnU-Net's batch; with ``SLICES`` where a case has labels per slice.
            finest: its segmentation target at full resolution, as ``patch_has_foreground`` takes it.

        Returns:
            For each target integers (B, K), ``UNKNOWN`` where there is no label, and weights (B, K), 0 to 1.
        """
        case_ids = [str(case_id) for case_id in batch["keys"]]
        of_cases = self.case_labels.batch(case_ids)
        shown = patch_has_foreground(finest, self.ignore_label, self.has_regions).cpu()
        empty_weight = torch.where(shown, 1.0, self.empty_patch_weight)
        labels, weights = {}, {}
        for name, target in self.targets.items():
            label = of_cases[name].clone()
            weight = empty_weight[:, None].repeat(1, label.shape[1])
            self._use_slices(target, case_ids, batch.get(SLICES), of_cases[name], label, weight)
            self._use_masks(target, finest, of_cases[name], label, weight)
            labels[name], weights[name] = label, weight
        return labels, weights

    def _use_slices(
        self,
        target: Target,
        case_ids: Sequence[str],
        shown: np.ndarray | None,
        of_cases: torch.Tensor,
        label: torch.Tensor,
        weight: torch.Tensor,
    ) -> None:
        """Put the union over the slices into the rows of cases that have them."""
        for row, case_id in enumerate(case_ids):
            slices = self._slices.get((case_id, target.name))
            if slices is None or shown is None:
                continue
            first, last = shown[row]
            union = _union(target, slices[first:last])
            if target.type != "multiclass":
                union = torch.where(of_cases[row] == 0, 0, union)  # what a case lacks no slice of it has
            label[row], weight[row] = union, 1.0

    def _use_masks(
        self, target: Target, finest: torch.Tensor, of_cases: torch.Tensor, label: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Put what the masks of the patches tell into the columns of the classes of ``present_if_label``."""
        for class_name, mask_labels in target.present_if_label.items():
            column = 0 if target.type == "binary" else target.classes.index(class_name)
            if self.has_regions:
                found = finest[:, self._segments.index(set(mask_labels))] > 0
            else:
                found = torch.isin(finest, torch.tensor(mask_labels, dtype=finest.dtype, device=finest.device))
            voxels = found.flatten(1).sum(dim=1).cpu()
            seen = torch.full_like(voxels, UNKNOWN)
            seen[(voxels == 0) & ~self._has_ignored(finest)] = 0
            seen[voxels >= target.min_voxels] = 1
            seen[of_cases[:, column] == 0] = 0
            label[:, column], weight[:, column] = seen, 1.0

    def _has_ignored(self, finest: torch.Tensor) -> torch.Tensor:
        if self.ignore_label is None:
            return torch.zeros(len(finest), dtype=torch.bool)
        ignored = finest[:, -1] > 0 if self.has_regions else finest == self.ignore_label
        return ignored.flatten(1).any(dim=1).cpu()


def targets_of_patches(sidecar: LabelSidecar) -> list[str]:
    """Return the targets whose patches are labelled by what they show, in some case at least."""
    sliced = {name for case in sidecar.cases.values() for name in case.slices}
    return [name for name, target in sidecar.targets.items() if target.present_if_label or name in sliced]


def _union(target: Target, slices: Sequence[tuple[int, ...] | None]) -> torch.Tensor:
    """Return the label (K,) of several slices together: what one has all have; several kinds (multiclass) are unknown.

    What no known slice has is unknown where a slice is unknown.
    """
    known = [label for label in slices if label is not None]
    if target.type == "multiclass":
        kinds = set(known)
        return torch.tensor(next(iter(kinds)) if len(kinds) == 1 and len(known) == len(slices) else (UNKNOWN,))
    width = 1 if target.type == "binary" else len(target.classes)
    present = torch.tensor(known).reshape(len(known), width).eq(1).any(dim=0)
    absent = 0 if len(known) == len(slices) else UNKNOWN
    return torch.where(present, 1, absent)
