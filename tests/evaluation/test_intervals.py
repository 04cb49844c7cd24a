"""Intervals: Wilson's by hand, BCa's ends against scipy, and whether 95 % are 95 % on simulated data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from nnunet_multitask.evaluation.intervals import bca_ends, bootstrap_intervals, mean_intervals, wilson_interval


def mean_of(values: NDArray[np.float64]) -> Any:
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def test_wilson_by_hand() -> None:
    # p = 0.5, n = 10, z^2 = 3.8415: centre 0.5, half width z / (1 + z^2 / n) * sqrt(0.025 + z^2 / 400)
    z = 1.959964
    half = z / (1 + z * z / 10) * np.sqrt(0.25 / 10 + z * z / 400)
    found = wilson_interval(5, 10)
    assert (found.low, found.high) == (pytest.approx(0.5 - half, abs=1e-6), pytest.approx(0.5 + half, abs=1e-6))
    sure = wilson_interval(22, 22)
    assert (sure.low, sure.high) == (pytest.approx(22 / (22 + z * z), abs=1e-6), 1.0)
    assert wilson_interval(0, 0).to_json() == {
        "low": None,
        "high": None,
        "method": "wilson",
        "confidence": 0.95,
        "reason": "no_cases",
    }


def test_wilson_covers_a_rare_share() -> None:
    n, p = 22, 0.9
    covered = 0.0
    for k in range(n + 1):
        found = wilson_interval(k, n)
        covered += stats.binom.pmf(k, n, p) * (found.low <= p <= found.high)
    assert 0.93 < covered < 0.99


def test_bca_ends_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    sample = rng.exponential(size=40)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(0))
    left_out = (sample.sum() - sample) / 39
    low, high, reason = bca_ends(float(sample.mean()), theirs.bootstrap_distribution, left_out)
    assert (low, high, reason) == (
        pytest.approx(theirs.confidence_interval.low, rel=1e-12),
        pytest.approx(theirs.confidence_interval.high, rel=1e-12),
        None,
    )


def test_bootstrap_of_a_mean_covers_it() -> None:
    rng = np.random.default_rng(0)
    units = np.arange(40)
    covered = 0
    for _ in range(200):
        found = bootstrap_intervals(mean_of(rng.exponential(size=40)), units, resamples=400)["mean"]
        covered += found.low <= 1.0 <= found.high
    assert 0.90 < covered / 200 < 0.98


def test_whole_patients_are_drawn() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(30), 8)
    covered, by_case = 0, 0
    for _ in range(100):
        values = np.repeat(rng.normal(size=30), 8) + 0.1 * rng.normal(size=240)  # slices of a patient are alike
        found = bootstrap_intervals(mean_of(values), units, resamples=300)["mean"]
        covered += found.low <= 0 <= found.high
        naive = bootstrap_intervals(mean_of(values), np.arange(240), resamples=100)["mean"]
        by_case += naive.low <= 0 <= naive.high
    assert found.method == "bca_300_by_patient"
    assert covered / 100 > 0.85
    assert by_case / 100 < 0.75  # what taking slices for independent would claim


def test_what_has_no_interval_says_why() -> None:
    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        rare = np.where(weights[:, 0] > 0, 1.0, np.nan)
        return {"undefined": np.full(len(weights), np.nan), "constant": np.ones(len(weights)), "rare": rare}

    found = bootstrap_intervals(statistics, np.arange(20), resamples=100)
    assert {name: interval.reason for name, interval in found.items()} == {
        "undefined": "undefined",
        "constant": "all_resamples_equal",
        "rare": "undefined_in_resamples",
    }
    few = bootstrap_intervals(mean_of(np.arange(9.0)), np.arange(9))["mean"]
    assert (few.low, few.reason) == (None, "fewer_than_10_units")
    assert bca_ends(5.0, np.arange(4.0), np.arange(4.0)) == (None, None, "all_resamples_on_one_side")


def test_the_mean_of_skewed_distances_has_a_steady_interval() -> None:
    # 13 differences of HD95: two failures of 200 mm carry the mean; the seed must not decide where the interval ends
    values = {"hd95": np.array([-200.0, -180.0, 40.0, 12.0, 5.0, 3.0, 1.0, 0.0, -1.0, -2.0, -4.0, -6.0, 150.0])}
    units = np.arange(13)
    found = mean_intervals(values, units)["hd95"]
    exact = bootstrap_intervals(mean_of(values["hd95"]), units, resamples=200_000)["mean"]
    assert found.method == "bca_20000"
    assert found.low == pytest.approx(exact.low, rel=0.03)
    assert found.high == pytest.approx(exact.high, rel=0.03)


def test_the_means_of_many_cases_keep_memory_bounded() -> None:
    values = {"dsc": np.linspace(0, 1, 1001)}
    assert mean_intervals(values, np.arange(1001))["dsc"].method == "bca_2000"
    assert mean_intervals({"dsc": values["dsc"][:1000]}, np.arange(1000))["dsc"].method == "bca_20000"
