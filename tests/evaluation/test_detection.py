"""Counts and ratios of detection."""

from __future__ import annotations

import pytest

from nnunet_multitask.evaluation.detection import Detection, pooled


def test_ratios_by_hand() -> None:
    found = Detection(true_positives=6, misses=2, false_positives=4, true_negatives=12)
    assert found.sensitivity == 0.75
    assert found.specificity == 0.75
    assert found.precision == 0.6
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert "reasons" not in found.to_json()


def test_what_is_not_defined_has_a_reason() -> None:
    document = Detection(true_negatives=0).to_json()
    assert document["reasons"] == {
        "sensitivity": "no_positive_reference",
        "specificity": "no_negative_reference",
        "precision": "no_positive_decision",
        "f1": "no_positive_reference_or_decision",
    }
    assert "specificity" not in Detection().to_json()
    assert "true_negatives" not in Detection().to_json()


def test_counts_are_pooled_and_ratios_made_anew() -> None:
    parts = [Detection(1, 0, 0, 5), Detection(0, 3, 2, 1)]
    assert pooled([part.to_json() for part in parts], Detection) == Detection(1, 3, 2, 6)
    assert pooled([Detection(1, 0, 0).to_json()], Detection) == Detection(1, 0, 0, None)
