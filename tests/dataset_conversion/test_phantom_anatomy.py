"""The synthetic head: tissues as stated, and a class that nothing but the kind of bleeding gives away."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnunet_multitask.dataset_conversion.phantom_anatomy import (
    AIR,
    BLOOD,
    CALCIFICATION,
    GREY,
    SCALP,
    SKULL,
    VENTRICLE,
    WHITE,
)
from nnunet_multitask.dataset_conversion.phantom_hemseg200 import plan_split
from nnunet_multitask.dataset_conversion.phantom_scan import HeadScan, make_head_scan

NUM_CASES = 200
HISTOGRAM_EDGES = [-1025, -500, -100, *range(-20, 101, 4), 150, 300, 700, 1000, 3072]


@lru_cache(maxsize=1)
def few() -> list[tuple[str, HeadScan]]:
    return [(case.kind, case.draw()) for case in plan_split("train", 12, seed=3)]


@lru_cache(maxsize=1)
def cohort() -> dict[str, np.ndarray]:
    """Numbers of 200 cases, in the order in which a cohort has them."""
    rows: dict[str, list[Any]] = {"is_ivh": [], "volume": [], "nuisance": [], "histogram": [], "order": []}
    for index, case in enumerate(plan_split("train", NUM_CASES)):
        scan = case.draw()
        drawn = scan.parameters
        voxel_ml = abs(float(np.linalg.det(scan.affine[:3, :3]))) / 1000
        air_noise = float(scan.image[scan.tissue == AIR].std())
        rows["is_ivh"].append(case.kind == "IVH")
        rows["volume"].append([scan.mask.sum() * voxel_ml])
        rows["nuisance"].append(
            [*scan.image.shape, drawn.spacing_xy_mm, drawn.noise_hu, air_noise, drawn.tilt_degrees, drawn.qform_only]
        )
        rows["histogram"].append(np.histogram(scan.image, HISTOGRAM_EDGES)[0])
        rows["order"].append([index, int(case.scan, 16), int(case.patient[3:], 16)])
    return {name: np.array(values, float) for name, values in rows.items()}


def cross_validated_auc(model: Any, features: np.ndarray, classes: np.ndarray) -> float:
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(model, features, classes, cv=folds, method="predict_proba")
    return float(roc_auc_score(classes, scores[:, 1]))


MODELS = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "random forest": RandomForestClassifier(200, min_samples_leaf=3, random_state=0),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("features", ["volume", "nuisance", "histogram", "order"])
def test_class_is_not_readable_from(features: str, model: str) -> None:
    data = cohort()
    assert cross_validated_auc(MODELS[model], data[features], data["is_ivh"]) <= 0.65


def test_class_is_readable_from_where_the_blood_is() -> None:
    """The control: the same classifier with the distance of the blood from the ventricles finds the class."""
    classes, distances = [], []
    for kind, scan in few():
        distance = ndimage.distance_transform_edt(scan.tissue != VENTRICLE, sampling=(5, 1.8, 1.8))
        classes.append(kind == "IVH")
        distances.append(-distance[scan.mask > 0].min())
    assert roc_auc_score(classes, distances) == 1.0


def test_volumes_are_those_drawn() -> None:
    for _, scan in few():
        voxel_ml = abs(np.linalg.det(scan.affine[:3, :3])) / 1000
        assert scan.mask.sum() * voxel_ml == pytest.approx(scan.parameters.lesion_ml, abs=voxel_ml)
        assert (scan.tissue == VENTRICLE).sum() * voxel_ml == pytest.approx(scan.parameters.ventricle_ml, abs=voxel_ml)


def test_lesion_volumes_over_the_cohort() -> None:
    volumes = cohort()["volume"][:, 0]
    assert volumes.min() >= 0.4
    assert volumes.max() <= 25.1
    assert 0 < np.mean(volumes < 2) <= 0.08
    assert not np.any((volumes > 1.1) & (volumes < 2.9))


def test_half_of_the_tiles_show_no_lesion() -> None:
    """As nnU-Net cuts a scan into overlapping tiles of 12x64x64 voxels, which the comparison of variants uses."""
    tile = (12, 64, 64)
    shares = []
    for _, scan in few():
        starts = [
            np.linspace(0, size - part, int(np.ceil((size - part) / (part / 2))) + 1).round().astype(int)
            for size, part in zip(scan.mask.shape, tile, strict=True)
        ]
        windows = np.lib.stride_tricks.sliding_window_view(scan.mask > 0, tile)[np.ix_(*starts)]
        assert windows[..., 0, 0, 0].size > 8
        shares.append(1 - windows.any(axis=(3, 4, 5)).mean())
    assert 0.4 <= np.mean(shares) <= 0.6


@pytest.mark.parametrize(
    ("tissue", "low", "high"),
    [(AIR, -1002, -998), (SKULL, 700, 1500), (WHITE, 25, 33), (GREY, 33, 40), (VENTRICLE, 0, 15), (BLOOD, 50, 80)],
)
def test_median_hounsfield_units(tissue: int, low: float, high: float) -> None:
    for _, scan in few():
        assert low <= np.median(scan.image[scan.tissue == tissue]) <= high


def test_noise_inside_the_brain() -> None:
    for _, scan in few():
        deep_white = ndimage.binary_erosion(scan.tissue == WHITE, np.ones((1, 3, 3)))
        assert 2.5 <= scan.image[deep_white].std() <= 6


def test_brain_is_enclosed() -> None:
    """Outside the skull lies scalp, outside the scalp air, in every slice with brain that the head ends in."""
    for _, scan in few():
        inside = np.isin(scan.tissue, [WHITE, GREY, VENTRICLE, BLOOD])
        for here, slice_inside in zip(scan.tissue, inside, strict=True):
            grown = ndimage.binary_dilation(slice_inside)
            assert not np.isin(here[grown], [AIR, SCALP]).any()
        border = np.ones(scan.tissue.shape, bool)
        border[:, 1:-1, 1:-1] = False
        assert (scan.tissue[border] == AIR).all()


def test_parenchymal_blood_is_away_from_the_ventricles_and_in_one_piece_mostly() -> None:
    for kind, scan in few():
        if kind == "IPH":
            spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)[::-1]
            distance = ndimage.distance_transform_edt(scan.tissue != VENTRICLE, sampling=spacing)
            assert distance[scan.mask > 0].min() > 4
            components, count = ndimage.label(scan.mask)
            assert np.bincount(components.ravel())[1:].max() > 0.9 * scan.mask.sum(), count


def test_ventricular_blood_lies_at_the_back() -> None:
    """On each side, blood is dependent: hardly any fluid lies behind the front of the blood."""
    for kind, scan in few():
        if kind != "IVH":
            continue
        index = np.indices(scan.tissue.shape)[::-1].reshape(3, -1)  # x, y, z
        posterior = -(scan.affine[1, :3] @ index + scan.affine[1, 3]).reshape(scan.tissue.shape)
        blood, fluid = scan.tissue == BLOOD, scan.tissue == VENTRICLE
        touching = ndimage.binary_dilation(fluid) & blood
        assert touching.any()
        assert np.mean(posterior[blood]) > np.mean(posterior[fluid]) + 10


def test_calcification_is_dense_and_not_in_the_mask() -> None:
    calcified = [scan for _, scan in few() if (scan.tissue == CALCIFICATION).any()]
    assert 0 < len(calcified) < len(few())
    for scan in calcified:
        found = scan.tissue == CALCIFICATION
        assert scan.image[found].max() >= 120
        assert not scan.mask[found].any()


def test_some_scans_are_oblique_and_none_is_sheared() -> None:
    tilts = []
    for _, scan in few():
        spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
        np.testing.assert_allclose(spacing, (scan.parameters.spacing_xy_mm, scan.parameters.spacing_xy_mm, 5.0))
        directions = scan.affine[:3, :3] / spacing
        np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
        tilts.append(np.degrees(np.arccos(directions[2, 2])))
        assert directions[0, 0] == -1  # to the patient's left
        assert directions[1, 1] < -0.9  # to the back
    assert min(tilts) == 0
    assert 5 <= max(tilts) <= 16


def test_seeds_determine_everything_and_the_patient_seed_the_head() -> None:
    seeds = [np.random.SeedSequence(number) for number in (1, 2, 3)]
    first = make_head_scan("IPH", seeds[0], seeds[1])
    again = make_head_scan("IPH", np.random.SeedSequence(1), np.random.SeedSequence(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.affine, again.affine)
    other_scan = make_head_scan("IPH", seeds[0], seeds[2])
    assert other_scan.parameters.head_size == first.parameters.head_size
    assert other_scan.parameters.lesion_ml != first.parameters.lesion_ml


def test_the_kind_changes_nothing_that_is_drawn() -> None:
    seeds = np.random.SeedSequence(1), np.random.SeedSequence(2)
    assert make_head_scan("IPH", *seeds).parameters == make_head_scan("IVH", *seeds).parameters
