"""Boundary distances: by hand, by invariance, and bit by bit against medpy."""

from __future__ import annotations

import numpy as np
import pytest
from medpy.metric import binary as medpy
from scipy.ndimage import gaussian_filter

from nnunet_multitask.evaluation import surface
from nnunet_multitask.evaluation.segmentation import segmentation_metrics
from nnunet_multitask.evaluation.surface import border, boundary_distances, union_box

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.45, 0.45), (2.5, 0.7, 0.7), (0.3, 0.3, 0.3), (3.1, 1.7, 0.9)]


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Two smooth random masks that overlap in part, some in Fortran order, some on the edge, some with a far speck."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(6, 26, 3))
    base = gaussian_filter(rng.standard_normal(shape), rng.uniform(0.5, 2.5))
    other = base + gaussian_filter(rng.standard_normal(shape), rng.uniform(0.5, 2.5)) * rng.uniform(0.1, 1.0)
    quantile = rng.uniform(0.7, 0.97)
    reference, prediction = base > np.quantile(base, quantile), other > np.quantile(other, quantile)
    if seed % 3 == 0:
        prediction[-1, -1, -1] = prediction[0, -2:, 0] = True
    if seed % 4 == 0:
        reference[0] = True
    if seed % 2:
        reference, prediction = np.asfortranarray(reference), np.asfortranarray(prediction)
    return reference, prediction, SPACINGS[seed % len(SPACINGS)]


@pytest.mark.parametrize("block", range(8))
def test_dsc_hd_hd95_assd_are_medpys_to_the_last_bit(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        reference, prediction, spacing = random_pair(seed)
        ours = segmentation_metrics(reference, prediction, spacing_mm=spacing)
        assert ours.dsc == medpy.dc(prediction, reference), seed
        assert ours.hd == medpy.hd(prediction, reference, spacing), seed
        assert ours.hd95 == medpy.hd95(prediction, reference, spacing), seed
        assert ours.assd == medpy.assd(prediction, reference, spacing), seed


@pytest.mark.parametrize("voxels_per_border_voxel", [0, 10**9], ids=["tree", "transform"])
def test_both_ways_give_medpys_values(monkeypatch: pytest.MonkeyPatch, voxels_per_border_voxel: int) -> None:
    monkeypatch.setattr(surface, "VOXELS_PER_BORDER_VOXEL", voxels_per_border_voxel)
    for seed in range(60):
        reference, prediction, spacing = random_pair(seed)
        ours = boundary_distances(reference, prediction, spacing_mm=spacing)
        assert ours.hd == medpy.hd(prediction, reference, spacing), seed
        assert ours.hd95 == medpy.hd95(prediction, reference, spacing), seed


def test_a_far_false_positive_in_a_wide_box_takes_the_tree_and_equals_medpy(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = np.zeros((20, 90, 90), dtype=bool)
    reference[4:8, 10:20, 10:20] = True
    prediction = np.roll(reference, (1, 2), axis=(0, 1))
    prediction[18:, 85:88, 85:88] = True
    monkeypatch.setattr(surface, "_by_transform", lambda *_: pytest.fail("expected the tree"))
    ours = boundary_distances(reference, prediction, spacing_mm=(5.0, 0.45, 0.45))
    assert ours.hd95 == medpy.hd95(prediction, reference, (5.0, 0.45, 0.45))
    assert ours.assd == medpy.assd(prediction, reference, (5.0, 0.45, 0.45))


def test_two_voxels_by_hand() -> None:
    reference, prediction = np.zeros((2, 5, 5), dtype=bool), np.zeros((2, 5, 5), dtype=bool)
    reference[0, 0, 0] = True
    prediction[0, 0, 3] = prediction[1, 0, 0] = True
    distances = boundary_distances(reference, prediction, spacing_mm=(5.0, 1.0, 2.0))
    assert distances.to_reference.tolist() == [6.0, 5.0]
    assert distances.to_prediction.tolist() == [5.0]
    assert distances.hd == 6.0
    assert distances.hd95 == pytest.approx(5.9)  # of 5, 5, 6 at rank 0.95 * 2 = 1.9
    assert distances.hd95_directed == pytest.approx(5.95)  # of 5, 6 at rank 0.95
    assert distances.assd == pytest.approx(16 / 3)
    assert distances.masd == pytest.approx((5.5 + 5.0) / 2)


def test_border_is_the_shell_and_everything_on_the_arrays_edge() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[1:4, 1:4, 1:4] = True
    assert border(mask).sum() == 26
    assert border(np.ones((3, 3, 3), dtype=bool)).sum() == 26
    assert border(np.ones((1, 4, 4), dtype=bool)).sum() == 16


@pytest.mark.parametrize("order", ["C", "F"])
def test_union_box(order: str) -> None:
    first, second = np.zeros((4, 6, 8), dtype=bool, order=order), np.zeros((4, 6, 8), dtype=bool, order=order)
    assert union_box(first, second) is None
    first[1, 2, 3] = True
    assert union_box(first, second) == (slice(1, 2), slice(2, 3), slice(3, 4))
    second[3, 0, 7] = True
    assert union_box(first, second) == (slice(1, 4), slice(0, 3), slice(3, 8))


def test_swapping_flipping_and_transposing_change_nothing() -> None:
    reference, prediction, _ = random_pair(7)
    spacing = (5.0, 0.7, 0.45)
    plain = boundary_distances(reference, prediction, spacing_mm=spacing)
    swapped = boundary_distances(prediction, reference, spacing_mm=spacing)
    flipped = boundary_distances(reference[::-1, :, ::-1], prediction[::-1, :, ::-1], spacing_mm=spacing)
    turned = boundary_distances(
        reference.transpose(2, 0, 1), prediction.transpose(2, 0, 1), spacing_mm=(0.45, 5.0, 0.7)
    )
    for other in (swapped, flipped, turned):
        for name in ("hd", "hd95", "hd95_directed", "assd", "masd"):
            assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-12)
    assert plain.masd <= plain.hd
    assert plain.hd95 <= plain.hd


def test_empty_masks_have_no_distance() -> None:
    full, empty = np.ones((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)
    for pair in ((full, empty), (empty, full), (empty, empty)):
        with pytest.raises(ValueError, match="at least one voxel"):
            boundary_distances(*pair, spacing_mm=(1, 1))
