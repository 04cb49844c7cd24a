"""One metric of two models: units, interval, primary test, and the coverage of the interval."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_multitask.evaluation.paired_scores import compare_scores, mean_interval


def pairs_of(differences: list[float]) -> dict[str, tuple[float, float]]:
    return {f"c{index}": (0.5 + difference, 0.5) for index, difference in enumerate(differences)}


def test_cases_of_one_patient_are_one_unit() -> None:
    pairs = {"a1": (1.0, 0.0), "a2": (3.0, 0.0), "b": (4.0, 0.0), "c": (0.0, 0.0)}
    document = compare_scores(pairs, {"a1": "a", "a2": "a", "b": "b", "c": "c"}, higher_is_better=True)
    assert (document["n"], document["unit"], document["units"]) == (4, "patient", 3)
    assert document["mean_difference"] == 2.0  # over cases
    # patients differ by 2, 4, 0: mean 2, standard error 2 / sqrt(3)
    assert document["paired_t"]["statistic"] == pytest.approx(3**0.5)
    assert document["permutation"] == {"statistic": 2.0, "p": 0.5, "n": 3}
    assert document["wins"] == 3
    assert document["interval"]["method"] == "bca_20000_by_patient"


def test_the_primary_test_is_named_and_its_p_taken() -> None:
    pairs = pairs_of([0.1, 0.2, 0.3, -0.05, 0.4])
    patients = {name: name for name in pairs}
    for name in ("paired_t", "wilcoxon", "permutation"):
        document = compare_scores(pairs, patients, higher_is_better=True, primary=name)
        assert document["primary"] == {"test": name, "p": document[name]["p"]}
        assert document["primary"]["p"] is not None


@pytest.mark.parametrize(
    ("differences", "reason"), [([], "n_below_2"), ([0.1], "n_below_2"), ([0.0, 0.0], "all_differences_zero")]
)
def test_too_few_or_equal_is_null_with_a_reason(differences: list[float], reason: str) -> None:
    pairs = pairs_of(differences)
    document = compare_scores(pairs, {name: name for name in pairs}, higher_is_better=True, margin=0.05)
    json.dumps(document, allow_nan=False)
    for name in ("paired_t", "wilcoxon", "permutation"):
        assert document[name] == {"statistic": None, "p": None, "n": len(pairs), "reason": reason}
    assert document["primary"] == {"test": "wilcoxon", "p": None, "reason": reason}
    assert document["interval"]["reason"] == ("fewer_than_10_units" if pairs else "no_cases")
    assert document["non_inferiority"]["reason"] == document["interval"]["reason"]


def test_ten_equal_differences_have_no_interval_and_their_one_difference_is_the_verdict() -> None:
    pairs = {f"c{index}": (0.5, 0.5) for index in range(10)}
    document = compare_scores(pairs, {name: name for name in pairs}, higher_is_better=True, margin=0.05)
    assert document["interval"]["reason"] == "all_resamples_equal"
    verdict = document["non_inferiority"]
    assert (verdict["non_inferior"], verdict["bound"], verdict["reason"]) == (True, 0.0, "all_resamples_equal")


def test_non_inferiority_of_a_slightly_worse_model() -> None:
    pairs = pairs_of([-0.01 + 0.002 * (index % 5 - 2) for index in range(30)])
    patients = {name: name for name in pairs}
    verdicts = [
        compare_scores(pairs, patients, higher_is_better=True, margin=margin)["non_inferiority"]["non_inferior"]
        for margin in (0.005, 0.02)
    ]
    assert verdicts == [False, True]


@pytest.mark.parametrize("scans", [1, 3])
def test_the_interval_covers(scans: int) -> None:
    # skewed differences of 30 patients, alike within a patient; 95 % nominal, 200 trials have a standard error of 1.5 %
    rng = np.random.default_rng(7)
    patients, trials, covered = 30, 200, 0
    units = np.repeat(np.arange(patients), scans)
    for _ in range(trials):
        differences = rng.exponential(1, patients)[units] + rng.normal(0, 0.1, patients * scans)
        interval = mean_interval(differences, units)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 1 <= interval.high
    assert 0.89 <= covered / trials <= 0.97


def test_taking_scans_for_patients_would_not_cover() -> None:
    rng = np.random.default_rng(7)
    units = np.repeat(np.arange(30), 3)
    covered = 0
    for _ in range(60):
        differences = rng.normal(0, 1, 30)[units] + rng.normal(0, 0.1, 90)
        interval = mean_interval(differences, np.arange(90))
        covered += interval.low <= 0 <= interval.high
    assert covered < 50
