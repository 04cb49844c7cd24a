"""Metrics of one pair of masks: by hand, empty masks, refused input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nnunet_multitask.evaluation.segmentation import DEFINITIONS, DISTANCES, OVERLAPS, definitions, segmentation_metrics


def boxes() -> tuple[np.ndarray, np.ndarray]:
    """Reference of 2 x 2 x 4 voxels, prediction shifted by one along the last axis."""
    reference = np.zeros((4, 4, 8), dtype=bool)
    reference[1:3, 1:3, 1:5] = True
    return reference, np.roll(reference, 1, axis=2)


def test_every_number_by_hand() -> None:
    result = segmentation_metrics(*boxes(), spacing_mm=(5.0, 2.0, 3.0))
    assert result.status == "ok"
    assert result.dsc == 0.75  # 2 * 12 / 32
    assert result.iou == 0.6  # 12 / 20
    assert result.sensitivity == result.precision == 0.75
    assert result.hd == 3.0  # one voxel along the last axis
    assert result.hd95 == result.hd95_directed == 3.0
    # every voxel is on a border; a quarter of each mask has no counterpart
    assert result.assd == result.masd == 0.75
    # border voxels within 2 mm of the other border: all but the quarter that is 3 mm away
    assert result.nsd == 0.75
    assert segmentation_metrics(*boxes(), spacing_mm=(5.0, 2.0, 3.0), nsd_tolerance_mm=3.0).nsd == 1.0
    assert result.volume_ml == pytest.approx(16 * 30 / 1000)
    assert result.volume_error_ml == result.relative_volume_difference == 0.0


def test_volumes_by_hand() -> None:
    reference, prediction = boxes()
    prediction[0] = prediction[1]  # 8 voxels more
    result = segmentation_metrics(reference, prediction, spacing_mm=(5.0, 2.0, 3.0))
    assert result.reference_volume_ml == pytest.approx(0.48)
    assert result.volume_ml == pytest.approx(0.72)
    assert result.volume_error_ml == pytest.approx(0.24)
    assert result.relative_volume_difference == pytest.approx(0.5)
    assert result.precision == pytest.approx(12 / 24)


def test_a_perfect_prediction() -> None:
    reference, _ = boxes()
    result = segmentation_metrics(reference, reference, spacing_mm=(1, 1, 1))
    assert (result.dsc, result.iou, result.hd, result.hd95, result.assd) == (1.0, 1.0, 0.0, 0.0, 0.0)


def test_a_lesion_of_one_voxel_and_one_that_fills_the_array_are_finite() -> None:
    one = np.zeros((3, 3, 3), dtype=bool)
    one[1, 1, 1] = True
    result = segmentation_metrics(one, np.ones_like(one), spacing_mm=(1, 1, 1))
    assert result.dsc == pytest.approx(2 / 28)
    assert result.hd == pytest.approx(math.sqrt(3))
    assert "reasons" not in result.to_json()


@pytest.mark.parametrize(
    ("reference", "prediction", "status", "dsc", "distance"),
    [
        (1, 0, "missed", 0.0, math.inf),
        (0, 1, "false_positive", 0.0, math.inf),
        (0, 0, "both_empty", math.nan, math.nan),
    ],
)
def test_empty_masks_have_a_status_and_null_with_a_reason(
    reference: int, prediction: int, status: str, dsc: float, distance: float
) -> None:
    shape = (2, 3, 4)
    result = segmentation_metrics(np.full(shape, reference), np.full(shape, prediction), spacing_mm=(1, 1, 1))
    assert result.status == status
    for name in DISTANCES:
        np.testing.assert_equal(getattr(result, name), distance)
    np.testing.assert_equal(result.dsc, dsc)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert all(document[name] is None and document["reasons"][name] == status for name in DISTANCES)
    assert set(document["reasons"]) == {name for name, value in document.items() if value is None}
    for name in OVERLAPS:
        assert (document[name] is None) == (status == "both_empty")


def test_two_empty_masks_agree_perfectly_where_the_option_says_so() -> None:
    empty, full = np.zeros((2, 3, 4), dtype=bool), np.ones((2, 3, 4), dtype=bool)
    result = segmentation_metrics(empty, empty, spacing_mm=(1, 1, 1), both_empty="one")
    assert result.status == "both_empty"
    assert [getattr(result, name) for name in OVERLAPS] == [1.0, 1.0, 1.0]
    assert [getattr(result, name) for name in DISTANCES] == [0.0] * 5
    assert result.to_json()["reasons"] == dict.fromkeys(
        ("sensitivity", "precision", "relative_volume_difference"), "both_empty"
    )
    missed = segmentation_metrics(full, empty, spacing_mm=(1, 1, 1), both_empty="one")
    assert (missed.dsc, missed.nsd, missed.hd95) == (0.0, 0.0, math.inf)


def test_every_number_has_a_definition() -> None:
    result = segmentation_metrics(*boxes(), spacing_mm=(1, 1, 1))
    assert set(result.to_json()) == {*DEFINITIONS, "status"}
    assert "within 2 mm of" in DEFINITIONS["nsd"]
    assert "within 1.5 mm of" in definitions(1.5)["nsd"]
    assert definitions(1.5).keys() == DEFINITIONS.keys()


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, -1), (1, 1, math.nan), (1, 1, math.inf), (1, 1, 60)])
def test_spacing_that_cannot_be_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected .*spacings .*got \(1, 1"):
        segmentation_metrics(*boxes(), spacing_mm=spacing)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_that_cannot_be_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="expected a tolerance of 0 mm or more, got"):
        segmentation_metrics(*boxes(), spacing_mm=(1, 1, 1), nsd_tolerance_mm=tolerance)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="expected both_empty to be one of undefined, one, got 'zero'"):
        segmentation_metrics(*boxes(), spacing_mm=(1, 1, 1), both_empty="zero")  # type: ignore[arg-type]


def test_spacing_is_keyword_only_and_in_array_order() -> None:
    with pytest.raises(TypeError, match="positional"):
        segmentation_metrics(*boxes(), (1, 1, 1))  # type: ignore[misc]
    reference, prediction = boxes()
    shifted = np.roll(reference, 1, axis=0)
    assert segmentation_metrics(reference, shifted, spacing_mm=(5, 1, 1)).hd == 5.0
    assert segmentation_metrics(reference, prediction, spacing_mm=(5, 1, 1)).hd == 1.0


def test_other_shapes_and_other_values_are_refused() -> None:
    reference, prediction = boxes()
    with pytest.raises(
        ValueError, match=r"expected masks of one shape, got reference \(4, 4, 8\), prediction \(4, 4, 7\)"
    ):
        segmentation_metrics(reference, prediction[..., :7], spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match="expected a mask of 0 and 1, got other values in prediction"):
        segmentation_metrics(reference, prediction * 2, spacing_mm=(1, 1, 1))
