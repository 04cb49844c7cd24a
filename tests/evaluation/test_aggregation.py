"""Means over cases under the policy for empty masks."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_multitask.evaluation.aggregation import diagonal, penalised_pairs, statistics, summarise
from nnunet_multitask.evaluation.segmentation import segmentation_metrics

DIAGONALS = {"hit": 10.0, "missed": 20.0, "alarm": 30.0, "empty": 40.0}


def scores(reference: dict[str, int], prediction: dict[str, int]) -> dict[str, dict[str, dict[str, object]]]:
    """Masks of one row: as many voxels as named, from the left; the reference of "hit" is one voxel shorter."""
    return {
        case_id: {
            "foreground": segmentation_metrics(
                np.arange(8)[None] < reference[case_id], np.arange(8)[None] < prediction[case_id], spacing_mm=(1, 1)
            ).to_json()
        }
        for case_id in reference
    }


REFERENCE = {"hit": 3, "missed": 2, "alarm": 0, "empty": 0}
PREDICTION = {"hit": 5, "missed": 0, "alarm": 4, "empty": 0}


def test_ok_and_penalised_means_by_hand() -> None:
    summary = summarise(scores(REFERENCE, PREDICTION), DIAGONALS, "foreground")
    assert summary["status"] == {"ok": 1, "both_empty": 1, "missed": 1, "false_positive": 1}
    assert summary["dsc"]["ok"]["mean"] == pytest.approx(6 / 8)
    assert summary["dsc"]["penalised"] == {
        "n": 3,
        "mean": pytest.approx(0.25),
        "std": pytest.approx(np.std([0.75, 0, 0], ddof=1)),
        "median": 0.0,
        "min": 0.0,
        "max": 0.75,
    }
    assert summary["hd"]["ok"]["mean"] == 2.0
    assert summary["hd"]["penalised"]["mean"] == pytest.approx((2 + 20 + 30) / 3)
    assert summary["sensitivity"]["defined"]["mean"] == pytest.approx(0.5)  # 1 and 0: the missed case counts
    assert summary["precision"]["defined"]["n"] == 2
    assert summary["volume_error_ml"]["defined"]["n"] == 4


def test_pairs_keep_the_same_cases_for_both_models() -> None:
    silent = scores(REFERENCE, dict.fromkeys(REFERENCE, 0))
    pairs = penalised_pairs(scores(REFERENCE, PREDICTION), silent, DIAGONALS, "foreground", "dsc")
    # the silent model is right about "alarm": it gets DSC 1 there; both are right about "empty", which is left out
    assert pairs == {"hit": (0.75, 0.0), "missed": (0.0, 0.0), "alarm": (0.0, 1.0)}
    distances = penalised_pairs(scores(REFERENCE, PREDICTION), silent, DIAGONALS, "foreground", "hd95")
    assert distances["alarm"] == (30.0, 0.0)


def test_statistics_of_too_few_cases_are_null_with_a_reason() -> None:
    assert statistics([]) == {
        "n": 0,
        "mean": None,
        "std": None,
        "median": None,
        "min": None,
        "max": None,
        "reason": "no_cases",
    }
    one = statistics([0.5])
    assert (one["mean"], one["std"], one["reason"]) == (0.5, None, "std_needs_2_cases")
    assert "reason" not in statistics([0.5, 0.6])


def test_diagonal_by_hand() -> None:
    assert diagonal((1, 30, 40), (0.0, 1.0, 1.0)) == 50.0
    assert diagonal((2, 3), (6.0, 3.0)) == 15.0
