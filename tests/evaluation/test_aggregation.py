"""Means over cases under the policy for empty masks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from nnunet_multitask.evaluation.aggregation import diagonal, empty_policy, penalised_pairs, statistics, summarise
from nnunet_multitask.evaluation.lesions import lesion_detection
from nnunet_multitask.evaluation.segmentation import segmentation_metrics
from nnunet_multitask.evaluation.slices import slice_scores

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
    assert summary["status"] == {"ok": 1, "both_empty": 1, "missed": 1, "false_positive": 1, "not_annotated": 0}
    assert summary["dsc"]["ok"]["mean"] == pytest.approx(6 / 8)
    assert summary["dsc"]["penalised"] == {
        "n": 3,
        "mean": pytest.approx(0.25),
        "std": pytest.approx(np.std([0.75, 0, 0], ddof=1)),
        "median": 0.0,
        "min": 0.0,
        "max": 0.75,
        "interval": {
            "low": None,
            "high": None,
            "method": "bca_20000",
            "confidence": 0.95,
            "reason": "fewer_than_10_units",
        },
    }
    assert summary["hd"]["ok"]["mean"] == 2.0
    assert summary["hd"]["penalised"]["mean"] == pytest.approx((2 + 20 + 30) / 3)
    assert summary["sensitivity"]["defined"]["mean"] == pytest.approx(0.5)  # 1 and 0: the missed case counts
    assert summary["precision"]["defined"]["n"] == 2
    assert summary["volume_error_ml"]["defined"]["n"] == 4


def test_intervals_of_means_draw_whole_patients() -> None:
    values = {f"c{i}": i % 5 + 3 for i in range(24)}
    cases = scores(values, dict.fromkeys(values, 5))
    alone = summarise(cases, dict.fromkeys(cases, 10.0), "foreground")
    pairs = summarise(cases, dict.fromkeys(cases, 10.0), "foreground", {c: f"p{int(c[1:]) // 2}" for c in cases})
    for metric, kind in (("dsc", "penalised"), ("dsc", "ok"), ("hd95", "penalised"), ("volume_ml", "defined")):
        found = alone[metric][kind]
        assert found["interval"]["method"] == "bca_20000"
        assert pairs[metric][kind]["interval"]["method"] == "bca_20000_by_patient"
        if metric != "volume_ml":  # which is the same everywhere
            assert found["interval"]["low"] < found["mean"] < found["interval"]["high"]
    assert alone["volume_ml"]["defined"]["interval"]["reason"] == "all_resamples_equal"
    expected = scipy.stats.bootstrap(
        ([case["foreground"]["dsc"] for case in cases.values()],), np.mean, n_resamples=9999, rng=0
    ).confidence_interval
    found = alone["dsc"]["penalised"]["interval"]
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_scans_are_detected_or_not() -> None:
    detection = summarise(scores(REFERENCE, PREDICTION), DIAGONALS, "foreground")["detection"]
    assert {name: detection[name] for name in ("true_positives", "misses", "false_positives", "true_negatives")} == {
        "true_positives": 1,
        "misses": 1,
        "false_positives": 1,
        "true_negatives": 1,
    }
    assert (detection["sensitivity"], detection["specificity"]) == (0.5, 0.5)


def test_volumes_are_compared_in_all_cases_but_empty_ones() -> None:
    agreement = summarise(scores(REFERENCE, PREDICTION), DIAGONALS, "foreground")["volume_agreement"]
    assert agreement["n"] == 3
    assert agreement["bias"] == pytest.approx((2 - 2 + 4) / 3 / 1000)  # hit, missed, alarm


def test_lesions_and_slices_are_summed_up_where_every_case_has_them() -> None:
    cases = scores(REFERENCE, PREDICTION)
    assert not {"lesions", "slices", "abc2_agreement"} & set(summarise(cases, DIAGONALS, "foreground"))
    masks = {"hit": (1, 1), "missed": (1, 0), "alarm": (0, 1), "empty": (0, 0)}
    for case_id, pair in masks.items():
        reference, prediction = (np.full((1, 2, 2), value, dtype=bool) for value in pair)
        cases[case_id]["foreground"] |= {
            "lesions": lesion_detection(reference, prediction).to_json(),
            "slices": slice_scores(reference, prediction, 1),
            "reference_abc2_ml": 0.004,
        }
    summary = summarise(cases, DIAGONALS, "foreground")
    assert summary["lesions"]["false_positives_per_scan"] == 0.25
    assert (summary["lesions"]["n"], summary["lesions"]["sensitivity"], summary["lesions"]["f1"]) == (4, 0.5, 0.5)
    assert (summary["slices"]["n"], summary["slices"]["dsc"]) == (4, 0.5)
    assert summary["abc2_agreement"]["n"] == 2  # hit and missed have a reference
    assert summary["abc2_agreement"]["bias"] == pytest.approx(0.004 - 0.0025)


def test_both_empty_counts_as_one_where_the_policy_says_so() -> None:
    cases = scores(REFERENCE, PREDICTION)
    empty = segmentation_metrics(np.zeros((1, 8)), np.zeros((1, 8)), spacing_mm=(1, 1), both_empty="one").to_json()
    cases["empty"] = {"foreground": empty}
    summary = summarise(cases, DIAGONALS, "foreground")
    assert summary["dsc"]["penalised"]["n"] == 4
    assert summary["dsc"]["penalised"]["mean"] == pytest.approx((0.75 + 0 + 0 + 1) / 4)
    assert summary["nsd"]["penalised"]["max"] == 1.0
    assert summary["hd95"]["penalised"]["min"] == 0.0
    assert summary["dsc"]["ok"]["n"] == 1
    pairs = penalised_pairs(cases, cases, DIAGONALS, "foreground", "dsc")
    assert pairs["empty"] == (1.0, 1.0)
    assert empty_policy("one")["name"] != empty_policy("undefined")["name"]


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
