"""Lesion-wise detection by each rule, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_multitask.evaluation.lesions import LesionRule, lesion_detection


def lines() -> tuple[np.ndarray, np.ndarray]:
    """Reference: lesions of 4, 2 and 1 voxels. Prediction: 2 in the first, 6 that join the first two, 1 apart."""
    reference, prediction = np.zeros((1, 5, 20), dtype=bool), np.zeros((1, 5, 20), dtype=bool)
    reference[0, 0, 0:4] = reference[0, 0, 8:10] = reference[0, 4, 15] = True
    prediction[0, 0, 0:2] = prediction[0, 0, 3:9] = prediction[0, 2, 18] = True
    return reference, prediction


def test_any_overlap_by_hand() -> None:
    found = lesion_detection(*lines())
    assert (found.reference_lesions, found.predicted_lesions) == (3, 3)
    assert (found.true_positives, found.misses, found.false_positives) == (2, 1, 1)
    assert found.sensitivity == found.precision == found.f1 == pytest.approx(2 / 3)
    assert found.to_json() == {
        "true_positives": 2,
        "misses": 1,
        "false_positives": 1,
        "reference_lesions": 3,
        "predicted_lesions": 3,
        "sensitivity": pytest.approx(2 / 3),
        "precision": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("dsc>=0.6", 1),  # the first lesion and its 2 voxels: 2 * 2 / 6
        ("dsc>=0.67", 0),
        ("iou>=0.5", 1),  # 2 / 4
        ("iou>=0.51", 0),
        ("dsc>=0.25", 2),  # the second lesion and the 6 voxels: 2 * 1 / 8
        ("iou>=0.1", 2),  # the 6 voxels could match the first (1 / 9) or the second (1 / 7): each lesion gets its own
        ("iou>=0.12", 2),
        ("iou>=0.15", 1),
    ],
)
def test_thresholds_match_one_to_one(rule: str, found: int) -> None:
    detection = lesion_detection(*lines(), rule=rule)
    assert (detection.true_positives, detection.misses, detection.false_positives) == (found, 3 - found, 3 - found)


def test_as_many_pairs_as_possible_are_matched() -> None:
    reference, prediction = np.zeros((1, 1, 12), dtype=bool), np.zeros((1, 1, 12), dtype=bool)
    reference[..., 0:3] = reference[..., 4:12] = True
    prediction[..., 2:8] = prediction[..., 9:12] = True
    # the first lesion fits only the first prediction (1 / 8), although the second shares more with it (4 / 10)
    detection = lesion_detection(reference, prediction, rule="iou>=0.12")
    assert (detection.true_positives, detection.false_positives) == (2, 0)


def test_one_prediction_over_two_lesions_finds_both_and_a_split_one_invents_none() -> None:
    two, one = np.zeros((1, 1, 9), dtype=bool), np.ones((1, 1, 9), dtype=bool)
    two[..., 0:3] = two[..., 6:9] = True
    joined, split = lesion_detection(two, one), lesion_detection(one, two)
    assert (joined.true_positives, joined.misses, joined.false_positives) == (2, 0, 0)
    assert (split.true_positives, split.misses, split.false_positives) == (1, 0, 0)


def test_empty_masks_have_no_lesions_and_ratios_their_reason() -> None:
    full, empty = np.ones((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)
    both = lesion_detection(empty, empty).to_json()
    json.dumps(both, allow_nan=False)
    assert (both["sensitivity"], both["precision"], both["f1"]) == (None, None, None)
    assert both["reasons"] == {
        "sensitivity": "no_positive_reference",
        "precision": "no_positive_decision",
        "f1": "no_positive_reference_or_decision",
    }
    missed, invented = lesion_detection(full, empty), lesion_detection(empty, full)
    assert (missed.misses, missed.sensitivity, missed.f1) == (1, 0.0, 0.0)
    assert (invented.false_positives, invented.precision, invented.f1) == (1, 0.0, 0.0)


@pytest.mark.parametrize("rule", ["any", "dsc>=0.5", "iou>=0.25"])
def test_rules_keep_their_name(rule: str) -> None:
    assert str(LesionRule.parse(rule)) == rule


@pytest.mark.parametrize("rule", ["", "some", "dsc", "dsc>=", "dsc>=0", "iou>=1.5", "dsc>0.5", "iou>=nan", "any>=0.5"])
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="expected any, dsc>=T or iou>=T with T above 0 and at most 1, got"):
        lesion_detection(*lines(), rule=rule)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of one shape, \(Z, Y, X\) or \(Y, X\), got \(1, 2\), \(2, 1\)"):
        lesion_detection(np.zeros((1, 2)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="expected two masks of one shape"):
        lesion_detection(np.zeros(3), np.zeros(3))
