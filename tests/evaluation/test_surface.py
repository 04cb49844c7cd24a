"""Boundary distances: by hand, by invariance, and bit by bit against medpy."""

from __future__ import annotations

import numpy as np
import pytest
from medpy.metric import binary as medpy
from scipy.ndimage import gaussian_filter

from nnunet_multitask.evaluation.segmentation import segmentation_metrics
from nnunet_multitask.evaluation.surface import border, boundary_distances, percentile_95

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


def test_a_lesion_with_a_false_positive_far_away_equals_medpy() -> None:
    rng = np.random.default_rng(0)
    reference = np.zeros((14, 120, 110), dtype=bool)
    base = gaussian_filter(rng.standard_normal((8, 40, 40)), (0.5, 3, 3))
    reference[2:10, 20:60, 20:60] = base > np.quantile(base, 0.7)
    prediction = np.roll(reference, (1, 4, 2), axis=(0, 1, 2))
    prediction[12:, 112:116, 100:105] = True
    ours = boundary_distances(reference, prediction, spacing_mm=(5.0, 0.45, 0.45))
    assert ours.hd == medpy.hd(prediction, reference, (5.0, 0.45, 0.45))
    assert ours.hd95 == medpy.hd95(prediction, reference, (5.0, 0.45, 0.45))
    assert ours.assd == medpy.assd(prediction, reference, (5.0, 0.45, 0.45))


def test_the_random_masks_are_of_every_kind() -> None:
    pairs = [random_pair(seed) for seed in range(400)]
    assert {spacing for *_, spacing in pairs} == set(SPACINGS)
    assert any(len(set(spacing)) > 1 for *_, spacing in pairs)
    fortran = [reference.flags.f_contiguous and prediction.flags.f_contiguous for reference, prediction, _ in pairs]
    assert sum(fortran) == 200
    touching = [reference[0].all() or prediction[-1, -1, -1] for reference, prediction, _ in pairs]
    assert sum(touching) >= 100


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


def test_nsd_by_hand() -> None:
    reference, prediction = np.zeros((1, 1, 12), dtype=bool), np.zeros((1, 1, 12), dtype=bool)
    reference[..., 0:4] = prediction[..., 2:8] = True  # every voxel is on the border
    # to the reference: 0, 0, 1, 2, 3, 4 voxels; to the prediction: 2, 1, 0, 0
    distances = boundary_distances(reference, prediction, spacing_mm=(1.0, 1.0, 0.5))
    assert distances.nsd(0.0) == pytest.approx(4 / 10)
    assert distances.nsd(0.5) == pytest.approx(6 / 10)
    assert distances.nsd(0.99) == pytest.approx(6 / 10)
    assert distances.nsd(1.0) == pytest.approx(8 / 10)
    assert distances.nsd(2.0) == 1.0


def test_a_tolerance_of_whole_voxels_counts_them_although_spacings_are_rounded() -> None:
    reference, prediction = np.zeros((1, 1, 9), dtype=bool), np.zeros((1, 1, 9), dtype=bool)
    reference[..., 0] = prediction[..., 3] = True
    spacing = float(np.float32(0.7))  # as NIfTI stores it: 0.699999988
    assert boundary_distances(reference, prediction, spacing_mm=(1, 1, 0.7)).nsd(3 * spacing) == 1.0
    assert boundary_distances(reference, prediction, spacing_mm=(1, 1, spacing)).nsd(2.1) == 1.0
    assert boundary_distances(reference, prediction, spacing_mm=(1, 1, 0.7)).nsd(2.09) == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_nsd_is_the_share_of_medpys_distances_within_the_tolerance(seed: int) -> None:
    reference, prediction, spacing = random_pair(seed)
    pooled = np.concatenate(
        [
            getattr(medpy, "__surface_distances")(*pair, spacing, 1)
            for pair in ((prediction, reference), (reference, prediction))
        ]
    )
    ours = segmentation_metrics(reference, prediction, spacing_mm=spacing, nsd_tolerance_mm=1.3)
    assert ours.nsd == np.count_nonzero(pooled <= 1.3) / len(pooled)


def test_nsd_is_monais() -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    for seed in range(6):
        reference, prediction, spacing = random_pair(seed)
        pair = [torch.from_numpy(np.ascontiguousarray(mask)[None, None]) for mask in (prediction, reference)]
        theirs = metrics.compute_surface_dice(
            *pair, class_thresholds=[1.3], include_background=True, spacing=spacing
        ).item()
        ours = segmentation_metrics(reference, prediction, spacing_mm=spacing, nsd_tolerance_mm=1.3)
        assert ours.nsd == pytest.approx(theirs, rel=1e-6)
        directed = metrics.compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
        assert ours.hd95_directed == pytest.approx(directed.item(), rel=1e-5)


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


@pytest.mark.parametrize("size", [1, 2, 3, 19, 20, 21, 22, 41, 1000, 12_345])
@pytest.mark.parametrize("seed", range(6))
def test_the_percentile_is_numpys_to_the_last_bit(size: int, seed: int) -> None:
    values = np.sqrt(np.random.default_rng(seed).integers(0, 60, size) * 0.45**2)
    assert percentile_95(values) == float(np.percentile(values, 95))
