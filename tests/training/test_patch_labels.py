"""The label of a patch: hand-made patches of hand-made cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunet_multitask.errors import InputErrors
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.training.patch_labels import PatchLabels, targets_of_patches
from nnunet_multitask.training.patches import SLICES
from nnunet_multitask.training.supervision import CaseLabels

ICH = Target("ich", "binary", ("no", "yes"))
SUBTYPE = Target("subtype", "multiclass", ("IPH", "IVH", "SAH"))
FINDINGS = Target("findings", "multilabel", ("IPH", "IVH"))
SEEN = Target("seen", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)}, min_voxels=4)
SEEN_KINDS = Target("seen", "multilabel", ("IPH", "IVH"), present_if_label={"IVH": (2,)}, min_voxels=2)


def patch_labels(target, case, *, segments=((1,), (2,)), ignore_label=None):
    sidecar = LabelSidecar({target.name: target}, {"a": case})
    labels = CaseLabels(sidecar.targets, sidecar, ["a"], "class_labels.json")
    return PatchLabels(
        labels,
        sidecar,
        segments=segments,
        ignore_label=ignore_label,
        empty_patch_weight=0.25,
        where="class_labels.json",
    )


def label_and_weight(target, case, *, mask=None, slices=None, **kwargs):
    finest = torch.zeros((1, 1, 2, 4, 4), dtype=torch.int16) if mask is None else mask
    batch = {"keys": ["a"]} if slices is None else {"keys": ["a"], SLICES: np.array([slices])}
    labels, weights = patch_labels(target, case, **kwargs).batch(batch, finest)
    return labels[target.name][0].tolist(), weights[target.name][0].tolist()


def mask_with(**voxels):
    """A patch with so many voxels of each mask label: ``v1=3`` sets three voxels to 1."""
    flat = torch.zeros(32, dtype=torch.int16)
    position = 0
    for name, count in voxels.items():
        flat[position : position + count] = int(name[1:])
        position += count
    return flat.view(1, 1, 2, 4, 4)


def test_without_evidence_the_case_counts_less_where_nothing_is_seen():
    case = Case({"ich": "yes"})
    assert label_and_weight(ICH, case) == ([1], [0.25])
    assert label_and_weight(ICH, case, mask=mask_with(v1=1)) == ([1], [1.0])
    assert label_and_weight(ICH, Case()) == ([-1], [0.25])


@pytest.mark.parametrize(
    ("slices", "shown", "expected"),
    [
        (("no", "yes", "no"), (0, 1), 0),
        (("no", "yes", "no"), (0, 2), 1),
        (("no", "yes", "no"), (2, 3), 0),
        (("no", None, "no"), (0, 2), -1),
        (("no", None, "yes"), (0, 3), 1),
    ],
)
def test_union_over_the_slices_of_a_binary_target(slices, shown, expected):
    case = Case({"ich": "yes"}, slices={"ich": slices})
    assert label_and_weight(ICH, case, slices=shown) == ([expected], [1.0])


def test_no_slice_has_what_its_case_lacks():
    assert label_and_weight(ICH, Case({"ich": "no"}, slices={"ich": (None, None)}), slices=(0, 2)) == ([0], [1.0])


def test_union_over_the_slices_of_a_multilabel_target():
    case = Case({"findings": ("IPH", "IVH")}, slices={"findings": ((), ("IPH",), ("IVH",), None)})
    assert label_and_weight(FINDINGS, case, slices=(0, 1))[0] == [0, 0]
    assert label_and_weight(FINDINGS, case, slices=(0, 2))[0] == [1, 0]
    assert label_and_weight(FINDINGS, case, slices=(1, 3))[0] == [1, 1]
    assert label_and_weight(FINDINGS, case, slices=(2, 4))[0] == [-1, 1]


def test_slices_of_several_kinds_are_unknown_for_a_multiclass_target():
    case = Case({"subtype": "IPH"}, slices={"subtype": ("SAH", "SAH", "IVH", None)})
    assert label_and_weight(SUBTYPE, case, slices=(0, 2))[0] == [2]
    assert label_and_weight(SUBTYPE, case, slices=(1, 3))[0] == [-1]
    assert label_and_weight(SUBTYPE, case, slices=(2, 4))[0] == [-1]


@pytest.mark.parametrize(("voxels", "expected"), [(0, 0), (1, -1), (3, -1), (4, 1), (9, 1)])
def test_mask_decides_from_min_voxels_on(voxels, expected):
    case = Case({"seen": "yes"})
    assert label_and_weight(SEEN, case, mask=mask_with(v1=voxels // 2, v2=voxels - voxels // 2)) == ([expected], [1.0])


def test_ignored_voxels_may_hide_a_class():
    case = Case({"seen": "yes"})
    assert label_and_weight(SEEN, case, mask=mask_with(v3=1), ignore_label=3)[0] == [-1]
    assert label_and_weight(SEEN, case, mask=mask_with(v1=4, v3=1), ignore_label=3)[0] == [1]
    assert label_and_weight(SEEN, Case({"seen": "no"}), mask=mask_with(v3=1), ignore_label=3)[0] == [0]


def test_mask_labels_a_patch_of_an_unknown_case():
    assert label_and_weight(SEEN, Case(), mask=mask_with(v1=5))[0] == [1]


def test_classes_without_mask_labels_keep_the_label_of_the_case():
    case = Case({"seen": ("IPH", "IVH")})
    assert label_and_weight(SEEN_KINDS, case) == ([1, 0], [0.25, 1.0])


def test_regions_have_a_channel_each():
    regions = [(1, 2), (2,)]
    mask = torch.zeros((1, 2, 2, 4, 4), dtype=torch.int16)
    mask[0, 0, 0, :2] = 1
    assert label_and_weight(SEEN, Case(), mask=mask, segments=regions)[0] == [1]
    assert label_and_weight(SEEN_KINDS, Case(), mask=mask, segments=regions)[0] == [-1, 0]
    with_ignore = torch.cat((mask * 0, torch.ones((1, 1, 2, 4, 4), dtype=torch.int16)), dim=1)
    assert label_and_weight(SEEN, Case(), mask=with_ignore, segments=regions, ignore_label=3)[0] == [-1]


def test_mask_labels_that_are_no_region_are_named():
    message = r"\[rule-without-region\] .*targets/seen/present_if_label/yes: .*, \[2, 3\] or \[1\], got \[1, 2\]"
    with pytest.raises(InputErrors, match=message):
        patch_labels(SEEN, Case(), segments=[(3, 2), (1,)])


@pytest.mark.parametrize("segments", [((1,), (2,)), ((1, 2), (2,))])
def test_mask_labels_that_dataset_json_lacks_are_named(segments):
    other = replace(SEEN, present_if_label={"yes": (2, 3)})
    message = r"\[unknown-mask-label\] .*targets/seen/present_if_label/yes: expected .* among \[1, 2\], got \[3\]"
    with pytest.raises(InputErrors, match=message):
        patch_labels(other, Case(), segments=segments)


def test_targets_that_patches_are_labelled_for():
    cases = {"a": Case({}, slices={"ich": ("no",)}), "b": Case()}
    targets = {target.name: target for target in (ICH, SUBTYPE, SEEN)}
    assert targets_of_patches(LabelSidecar(targets, cases)) == ["ich", "seen"]
