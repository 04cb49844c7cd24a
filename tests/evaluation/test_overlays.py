"""Which cases are shown, which slice, and which way up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.overlays import (
    choose_cases,
    draw_case,
    draw_overlays,
    slice_of_interest,
    to_lps,
    to_lps_spacing,
)

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


@pytest.mark.parametrize(
    ("directions", "index"),
    [
        # the voxel at the patient's left, front and top, as (z, y, x) index in an array of 3 x 4 x 5
        (np.diag([-1.0, -1.0, 1.0]), (2, 0, 4)),  # stored towards left, posterior, superior
        (np.diag([1.0, 1.0, 1.0]), (2, 3, 0)),  # towards right, anterior, superior
        (np.diag([-1.0, 1.0, -1.0]), (0, 3, 4)),
    ],
)
def test_the_nose_is_up_and_the_patients_left_is_on_the_right(directions: np.ndarray, index: tuple[int, ...]) -> None:
    array = np.zeros((3, 4, 5))
    array[index] = 1
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([1.0, 2.0, 3.0])
    turned = to_lps(array, affine)
    assert turned.shape == (5, 4, 3)
    assert turned[-1, 0, -1] == 1  # column: last, row: first, slice: top
    assert to_lps_spacing(affine) == (1.0, 2.0, 3.0)


def test_axes_in_another_order_and_oblique_ones_go_to_the_nearest() -> None:
    # array axes x, y, z run along superior, left, posterior, tilted by 10 degrees
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 5.0, -1.0, -2.0, 1.0
    cos, sin = np.cos(np.radians(10)), np.sin(np.radians(10))
    affine[:3] = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ affine[:3]
    assert to_lps(np.zeros((4, 5, 6)), affine).shape == (5, 4, 6)
    assert to_lps_spacing(affine) == pytest.approx((1.0, 2.0, 5.0))


def test_the_slice_where_the_models_disagree_most() -> None:
    reference = np.zeros((4, 4, 5), dtype=bool)
    reference[1:3, 1:3, 1] = True
    base, model = reference.copy(), reference.copy()
    names = ["reference", "base", "model"]
    assert slice_of_interest({"reference": reference, "base": base, "model": model}, names) == 1
    base[0, 0, 3] = model[0, 0, 3] = True  # both are wrong
    base[0, :, 1] = model[0, :2, 1] = True
    assert slice_of_interest({"reference": reference, "base": base, "model": base}, names) == 1
    model[:, :, 4] = True
    assert slice_of_interest({"reference": reference, "base": base, "model": model}, names) == 4
    empty = np.zeros_like(reference)
    assert slice_of_interest({"reference": empty, "base": empty, "model": empty}, names) == 2


def test_worst_best_and_largest_change_are_chosen(cohort: Path) -> None:
    models = {"baseline": cohort / "baseline", "model": cohort / "model"}
    document = compare_folders(cohort / "labels", models, "baseline", labels=LABELS, images_dir=cohort / "images")
    chosen = choose_cases(document, "model")
    # the model is perfect; the shift costs the baseline most where the lesion is smallest
    assert "largest gain" in chosen["c1"]
    assert "largest loss" not in "".join(chosen.values())
    assert sum(reasons.count("DSC") for reasons in chosen.values()) == 3
    overlays = draw_overlays(document, {"c1": "why", "absent": "no image"})
    assert [(overlay.case_id, overlay.why) for overlay in overlays] == [("c1", "why")]
    whole, baseline, model = overlays[0].pictures
    assert whole.uri.startswith("data:image/png;base64,")
    assert "Case c1, axial slice" in whole.alt
    # slice 2 or 3: 4 x 5 voxels of 2 x 2 mm, in the baseline one column too far
    assert "baseline and reference in the frame: true positive 64 square millimetres, false positive 16" in baseline.alt
    assert "true positive 80 square millimetres, false positive 0 square millimetres, false negative 0" in model.alt


def test_an_image_on_another_grid_is_refused(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    image = write_nifti(cohort / "other.nii.gz", np.zeros((6, 20, 23), np.int16))
    with pytest.raises(InputError, match=r"\[shape-differs\]"):
        draw_case(image, {"reference": cohort / "labels" / "c1.nii.gz"}, is_ct=True, title="c1", names=["reference"])
