"""Diameters and ABC/2: by hand, and of bodies whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_multitask.evaluation.components import find_lesions
from nnunet_multitask.evaluation.diameters import abc2_ml, largest_diameter_mm


def ellipsoid(shape: tuple[int, ...], spacing: tuple[float, ...], half_axes_mm: tuple[float, ...]) -> np.ndarray:
    """Voxels whose centre is inside an ellipsoid in the middle of the array."""
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(
        ((axis * s - (n - 1) / 2 * s) / half) ** 2
        for axis, n, s, half in zip(grid, shape, spacing, half_axes_mm, strict=True)
    ) < 1  # fmt: skip


def test_one_voxel_is_as_wide_as_a_voxel() -> None:
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1, 1, 1] = True
    assert largest_diameter_mm(mask, spacing_mm=(5.0, 1.0, 2.0)) == 2.0
    assert abc2_ml(mask, spacing_mm=(5.0, 1.0, 2.0)) == pytest.approx(2.0 * 1.0 * 5.0 / 2 / 1000)


def test_a_row_and_a_plus_by_hand() -> None:
    mask = np.zeros((2, 5, 9), dtype=bool)
    mask[0, 2, 1:8] = True  # 7 voxels of 0.5 mm, 0.5 mm high
    assert largest_diameter_mm(mask, spacing_mm=(5.0, 0.5, 0.5)) == 3.5
    assert abc2_ml(mask, spacing_mm=(5.0, 0.5, 0.5)) == pytest.approx(3.5 * 0.5 * 5.0 / 2 / 1000)
    mask[0, 0:5, 4] = True  # a plus: 7 wide, 5 high
    assert largest_diameter_mm(mask, spacing_mm=(5.0, 0.5, 0.5)) == 3.5
    assert abc2_ml(mask, spacing_mm=(5.0, 0.5, 0.5)) == pytest.approx(3.5 * 2.5 * 5.0 / 2 / 1000)


def test_slices_count_by_their_share_of_the_largest_area() -> None:
    mask = np.zeros((5, 3, 22), dtype=bool)
    for z, voxels in enumerate((20, 16, 15, 5, 4)):  # 100 %, 80 %, 75 %, 25 %, 20 %: 1 + 1 + 0.5 + 0.5 + 0 slices
        mask[z, 1, 1 : voxels + 1] = True
    assert abc2_ml(mask, spacing_mm=(4.0, 1.0, 1.0)) == pytest.approx(20 * 1 * 3 * 4 / 2 / 1000)


def test_lesions_are_measured_one_by_one() -> None:
    mask = np.zeros((4, 3, 30), dtype=bool)
    mask[0, 1, 0:4] = mask[3, 1, 20:26] = True
    assert largest_diameter_mm(mask, spacing_mm=(1, 1, 1)) == 6.0  # not from one lesion to the other
    assert abc2_ml(mask, spacing_mm=(1, 1, 1)) == pytest.approx((4 + 6) / 2 / 1000)
    mask[1:3] = mask[0] | mask[3]
    mask[1, 1, 0:26] = True  # now all is one lesion
    assert largest_diameter_mm(mask, spacing_mm=(1, 1, 1)) == 26.0


def test_empty_masks_have_no_size() -> None:
    empty = np.zeros((2, 3, 4), dtype=bool)
    assert largest_diameter_mm(empty, spacing_mm=(1, 1, 1)) == abc2_ml(empty, spacing_mm=(1, 1, 1)) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_the_diameter_is_the_largest_of_all_pairs_of_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((3, 14, 17)) < 0.35
    lesions = find_lesions(mask)
    spacing = np.array([0.7, 1.3])
    expected = 0.0
    labels = np.zeros(mask.shape, dtype=int)
    for lesion, z, y, start, stop in zip(
        lesions.of_run, lesions.z, lesions.y, lesions.start, lesions.stop, strict=True
    ):
        labels[z, y, start:stop] = lesion + 1
    for lesion in range(1, lesions.count + 1):
        for plane in labels == lesion:
            voxels = np.argwhere(plane)
            if len(voxels):
                sides = [voxels + side for side in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
                points = np.concatenate(sides) * spacing
                expected = max(expected, np.linalg.norm(points[:, None] - points[None], axis=2).max())
    assert largest_diameter_mm(mask, spacing_mm=(5.0, *spacing)) == pytest.approx(expected)


def test_an_ellipsoid_has_its_axis_and_its_known_share_of_abc2() -> None:
    spacing, half_axes = (0.5, 0.5, 0.5), (15.0, 12.0, 18.0)
    mask = ellipsoid((64, 52, 76), spacing, half_axes)
    assert largest_diameter_mm(mask, spacing_mm=spacing) == pytest.approx(36.0, abs=0.5)
    # areas fall as 1 - (z / c)^2: above 75 % to c / 2, above 25 % to 0.866 c
    slices_mm = 2 * 15.0 * (0.5 + (np.sqrt(0.75) - 0.5) / 2)
    assert abc2_ml(mask, spacing_mm=spacing) == pytest.approx(36.0 * 24.0 * slices_mm / 2 / 1000, rel=0.04)


def test_turning_and_flipping_in_the_plane_changes_nothing() -> None:
    mask = ellipsoid((5, 30, 41), (5.0, 0.5, 0.5), (9.0, 5.2, 8.1))
    mask[2, 15, :] = True
    sizes = [
        (largest_diameter_mm(turned, spacing_mm=(5.0, 0.5, 0.5)), abc2_ml(turned, spacing_mm=(5.0, 0.5, 0.5)))
        for turned in (mask, mask[::-1], mask[:, ::-1], mask[:, :, ::-1], mask.transpose(0, 2, 1))
    ]
    np.testing.assert_allclose(sizes, [sizes[0]] * 5)
