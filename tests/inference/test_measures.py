"""What a mask holds, and whether it says the same as the class."""

import nibabel
import numpy as np
import pytest

from nnunet_multitask.inference.measures import mask_agreement, mask_values, measure_mask
from nnunet_multitask.labels import Target

BINARY = Target("ich", "binary", ("no", "yes"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH"), present_if_label={"SAH": (1,), "SDH": (2,)})
KINDS = Target("subtype", "multiclass", ("IPH", "IVH"))
LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def save_mask(path, array, spacing=(1.0, 2.0, 5.0)):
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1])), path)
    return path


def measures(first, second):
    return {
        str(value): {"voxels": voxels, "largest_component_ml": voxels / 1000, "volume_ml": 0.0, "components": 1}
        for value, voxels in ((1, first), (2, second))
    }


def test_mask_is_measured_in_ml_and_components(tmp_path):
    array = np.zeros((6, 6, 6))
    array[0, 0, 0] = array[1, 1, 1] = 1  # touch by a corner: one component
    array[4, 4, 4] = 1
    measured = measure_mask(save_mask(tmp_path / "mask.nii.gz", array), [1, 3])
    assert measured == {
        "1": {
            "volume_ml": pytest.approx(0.03),
            "voxels": 3,
            "components": 2,
            "largest_component_ml": pytest.approx(0.02),
        },
        "3": {"volume_ml": 0, "voxels": 0, "components": 0, "largest_component_ml": 0},
    }


def test_other_formats_are_not_measured(tmp_path):
    assert measure_mask(tmp_path / "mask.png", [1]) == {}
    assert mask_agreement(BINARY, "yes", LABELS, {}) is None


def test_values_of_masks_leave_out_background_and_ignore():
    assert mask_values({"labels": {"background": 0, "blood": 1, "ignore": 2}}) == [1]
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    assert mask_values(regions) == [1, 2]


@pytest.mark.parametrize(
    ("decision", "voxels", "kind"),
    [("yes", 1, "both"), ("yes", 0, "class_only"), ("no", 1, "mask_only"), ("no", 0, "neither")],
)
def test_all_foreground_tells_a_binary_target(decision, voxels, kind):
    found = mask_agreement(BINARY, decision, LABELS, measures(0, voxels))
    assert found == {"agrees": kind in ("both", "neither"), "classes": {"yes": kind}}


def test_findings_are_told_by_their_own_regions():
    found = mask_agreement(FINDINGS, ("SAH",), LABELS, measures(4, 1))
    assert found == {"agrees": False, "classes": {"SAH": "both", "SDH": "mask_only"}}


def test_the_largest_component_tells_the_kind():
    assert mask_agreement(KINDS, "IPH", LABELS, measures(5, 4)) == {"agrees": True, "mask": "IPH"}
    assert mask_agreement(KINDS, "IPH", LABELS, measures(3, 4)) == {"agrees": False, "mask": "IVH"}
    assert mask_agreement(KINDS, "IPH", LABELS, measures(0, 0)) == {"agrees": False, "mask": None}
    assert mask_agreement(KINDS, "IPH", {"background": 0, "blood": 1}, measures(1, 0)) is None
