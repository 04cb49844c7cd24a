"""Each kind of bleeding lies where a radiologist looks for it, and has its form."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from nnunet_multitask.dataset_conversion.phantom_anatomy import (
    BLOOD,
    SCALP,
    SKULL,
    VENTRICLE,
    Head,
    build_head,
    draw_parameters,
)
from nnunet_multitask.dataset_conversion.phantom_kinds import KINDS, Kind
from nnunet_multitask.dataset_conversion.phantom_scan import Bleeding, HeadScan, draw_scan

VOLUME_ML = {"IVH": 6.0, "IPH": 10.0, "SAH": 8.0, "EDH": 18.0, "SDH": 25.0}


@lru_cache(maxsize=16)
def scan_of(*kinds: Kind, seed: int = 1, fractured: bool = False) -> HeadScan:
    rng = np.random.default_rng(seed)
    parameters = replace(draw_parameters(np.random.default_rng(seed + 100), rng), lesion_ml=10.0, tilt_degrees=0.0)
    return draw_scan(parameters, [Bleeding(kind, VOLUME_ML[kind] / 10.0) for kind in kinds], rng, fractured)


@lru_cache(maxsize=16)
def head_of(seed: int = 1) -> Head:
    """Return the head of ``scan_of``: the generator draws the same up to the bleeding."""
    rng = np.random.default_rng(seed)
    parameters = replace(draw_parameters(np.random.default_rng(seed + 100), rng), lesion_ml=10.0, tilt_degrees=0.0)
    return build_head(parameters, rng)


def thickness_mm(scan: HeadScan, head: Head) -> float:
    """Return the depth below the skull that the blood reaches."""
    return float(np.quantile(head.depth[scan.mask > 0], 0.99))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_volume_density_and_label(kind: Kind, seed: int) -> None:
    scan = scan_of(kind, seed=seed)
    voxel_ml = head_of(seed).voxel_ml
    assert scan.mask.sum() * voxel_ml == pytest.approx(VOLUME_ML[kind], abs=voxel_ml)
    np.testing.assert_array_equal(scan.kinds, scan.mask * (KINDS.index(kind) + 1))
    assert not (scan.mask.astype(bool) & ~head_of(seed).brain).any()
    if kind != "SAH":  # thin: the scanner blurs it with the brain beside it
        assert 50 <= np.median(scan.image[scan.mask > 0]) <= 80
    assert np.median(scan.image[scan.mask > 0]) > 45


@pytest.mark.parametrize("kind", ["EDH", "SDH"])
def test_bleedings_below_the_skull_touch_it(kind: Kind) -> None:
    scan, head = scan_of(kind), head_of()
    beside_skull = ndimage.binary_dilation(head.skull, np.ones((1, 3, 3)))
    assert (scan.mask.astype(bool) & beside_skull).sum() > 0.1 * scan.mask.sum()
    parts, _ = ndimage.label(scan.mask, np.ones((3, 3, 3)))
    assert np.bincount(parts.ravel())[1:].max() > 0.95 * scan.mask.sum()


def test_lens_is_thick_and_short_the_crescent_thin_and_long() -> None:
    edh, sdh = scan_of("EDH"), scan_of("SDH")
    extents = {}
    for name, scan in (("EDH", edh), ("SDH", sdh)):
        head = head_of()
        points = np.stack([field[scan.mask > 0] for field in (head.x, head.y, head.z)], axis=1)
        extents[name] = float(np.linalg.norm(np.ptp(points, axis=0))) / thickness_mm(scan, head)
    assert extents["EDH"] < 6
    assert extents["SDH"] > 1.5 * extents["EDH"]
    assert thickness_mm(edh, head_of()) > 1.5 * thickness_mm(sdh, head_of())


def test_lens_is_convex_towards_the_brain_the_crescent_follows_the_skull() -> None:
    """In the largest slice the lens fills its convex hull; the crescent, bent like the skull, does not."""
    from skimage.morphology import convex_hull_image

    solidity = {}
    for kind in ("EDH", "SDH"):
        mask = scan_of(kind).mask
        part = mask[mask.sum(axis=(1, 2)).argmax()] > 0
        solidity[kind] = part.sum() / convex_hull_image(part).sum()
    assert solidity["EDH"] > 0.85
    assert solidity["SDH"] < solidity["EDH"]


def test_crescent_stays_on_its_side() -> None:
    for seed in (1, 2):
        head = head_of(seed)
        sides = np.unique(np.sign(head.x[scan_of("SDH", seed=seed).mask > 0]))
        assert len(sides) == 1


def test_blood_in_the_furrows_is_scattered_and_shallow() -> None:
    sah, iph = scan_of("SAH"), scan_of("IPH")

    def share_at_the_edge(scan: HeadScan) -> float:
        inside = ndimage.binary_erosion(scan.mask, np.ones((1, 3, 3)))
        return float(1 - inside.sum() / scan.mask.sum())

    assert share_at_the_edge(sah) > 1.5 * share_at_the_edge(iph)
    assert thickness_mm(sah, head_of()) < 45


def test_ventricular_blood_is_in_the_ventricles_alone() -> None:
    scan = scan_of("IVH")
    grown = ndimage.binary_dilation(np.isin(scan.tissue, [VENTRICLE, BLOOD]))
    assert not (scan.mask.astype(bool) & ~grown).any()
    assert (ndimage.binary_dilation(scan.tissue == VENTRICLE) & (scan.mask > 0)).any()


def test_several_bleedings_share_no_voxel() -> None:
    scan = scan_of("IVH", "IPH", "SAH", "SDH")
    voxel_ml = head_of().voxel_ml
    for kind in ("IVH", "IPH", "SAH", "SDH"):
        volume = (scan.kinds == KINDS.index(kind) + 1).sum() * voxel_ml
        assert volume == pytest.approx(VOLUME_ML[kind], abs=voxel_ml)
    np.testing.assert_array_equal(scan.mask > 0, scan.kinds > 0)


def test_healthy_head() -> None:
    scan = scan_of()
    assert not scan.mask.any()
    assert not scan.fracture.any()


@pytest.mark.parametrize("kinds", [(), ("EDH",)])
def test_fracture_is_a_gap_in_the_skull(kinds: tuple[Kind, ...]) -> None:
    scan, head = scan_of(*kinds, fractured=True), head_of()
    assert head.skull[scan.fracture].all()
    assert (scan.tissue[scan.fracture] == SCALP).all()
    assert np.count_nonzero(scan.fracture.any(axis=(1, 2))) >= 2
    assert np.median(scan.image[scan.fracture]) < 600 < np.median(scan.image[scan.tissue == SKULL])
    if kinds:  # beside the bleeding
        distance = ndimage.distance_transform_edt(scan.mask == 0, sampling=(5.0, 1.8, 1.8))
        assert distance[scan.fracture].min() < 12
