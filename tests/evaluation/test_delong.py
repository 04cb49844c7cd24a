"""DeLong's interval and test: by hand, against MLstatkit, and the coverage that the documentation claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
from MLstatkit import Delong_test
from scipy import stats
from sklearn.metrics import roc_auc_score

from nnunet_multitask.evaluation.delong import delong_interval, delong_test


def scores(rng: np.random.Generator, positives: int, negatives: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(positives + negatives) < positives
    return truth, rng.normal(truth * distance, 1)


def test_variance_by_hand() -> None:
    # positives 3, 1; negatives 2, 0: shares of negatives below 1, 1/2; of positives above 1/2, 1
    truth, score = np.array([1, 1, 0, 0], dtype=bool), np.array([3.0, 1.0, 2.0, 0.0])
    variance = np.var([1, 0.5], ddof=1) / 2 + np.var([0.5, 1], ddof=1) / 2
    half = 1.959964 * math.sqrt(variance)
    linear = delong_interval(truth, score, scale="linear")
    assert (linear.low, linear.high) == (pytest.approx(0.75 - half, abs=1e-6), 1.0)
    logit = delong_interval(truth, score)
    ends = [1 / (1 + math.exp(-(math.log(3) + sign * half / (0.75 * 0.25)))) for sign in (-1, 1)]
    assert (logit.low, logit.high) == (pytest.approx(ends[0], abs=1e-6), pytest.approx(ends[1], abs=1e-6))
    assert (linear.method, logit.method) == ("delong", "delong_logit")


@pytest.mark.parametrize("digits", [6, 1], ids=["few ties", "many ties"])
def test_difference_agrees_with_mlstatkit(digits: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        truth, first = scores(rng, 20, 30, 1.2)
        second = 0.6 * first + rng.normal(truth * 0.5, 1)
        first, second = ((s - s.min()) / np.ptp(s) for s in (first, second))
        first, second = first.round(digits), second.round(digits)
        found = delong_test(truth, first, second)
        z, p = Delong_test(truth.astype(int), first, second)[:2]
        assert found.z == pytest.approx(-z, rel=1e-9)  # its difference is the second minus the first
        assert found.p == pytest.approx(p, rel=1e-9)
        assert (found.auc, found.other_auc) == (
            pytest.approx(roc_auc_score(truth, first)),
            pytest.approx(roc_auc_score(truth, second)),
        )
        assert found.difference == pytest.approx((found.low + found.high) / 2)


def test_means_over_trainings_by_hand() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(24) < 9
    first, second = (rng.normal(truth * distance, 1, (repeats, 24)) for distance, repeats in ((1.5, 3), (0.5, 2)))

    def in_order(scores: np.ndarray) -> np.ndarray:  # (9, 15): share of the trainings in which a pair is in order
        return np.mean([[[a > b for b in s[~truth]] for a in s[truth]] for s in scores], axis=0)

    pairs, others = in_order(first), in_order(second)
    apart = pairs - others
    variance = apart.mean(axis=1).var(ddof=1) / 9 + apart.mean(axis=0).var(ddof=1) / 15
    found = delong_test(truth, first, second)
    assert (found.auc, found.other_auc) == (pytest.approx(pairs.mean()), pytest.approx(others.mean()))
    assert found.z == pytest.approx(apart.mean() / math.sqrt(variance))
    width = 1.959964 * math.sqrt(pairs.mean(axis=1).var(ddof=1) / 9 + pairs.mean(axis=0).var(ddof=1) / 15)
    linear = delong_interval(truth, first, scale="linear")
    assert linear.low == pytest.approx(pairs.mean() - width, abs=1e-6)
    one, twice = delong_test(truth, first[0], second[0]), delong_test(truth, first[[0, 0]], second[[0, 0]])
    assert (twice.difference, twice.p) == (pytest.approx(one.difference), pytest.approx(one.p))


def test_the_interval_of_a_difference_is_cut_where_none_can_be() -> None:
    truth, first, second = [0, 0, 1, 1], [0, 2, 1, 3], [3, 1, 2, 0]  # AUC 0.75 and 0.25
    found = delong_test(truth, first, second)
    assert (found.difference, found.low, found.high) == (0.5, pytest.approx(-0.8859, abs=1e-4), 1.0)


def test_coverage_in_small_sets() -> None:
    rng = np.random.default_rng(0)
    for (positives, negatives), auc in (((11, 11), 0.9), ((20, 40), 0.9), ((50, 50), 0.75)):
        distance = math.sqrt(2) * stats.norm.ppf(auc)
        found = []
        for _ in range(200):
            interval = delong_interval(*scores(rng, positives, negatives, distance))
            if interval.reason is None:
                found.append(interval.low <= auc <= interval.high)
        assert 0.92 < np.mean(found) <= 1.0


def test_two_equal_models_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(1)
    below = 0
    for _ in range(300):
        truth, shared = scores(rng, 25, 35, 1.0)
        first, second = (shared + rng.normal(0, 0.7, 60) for _ in range(2))
        below += delong_test(truth, first, second).p < 0.05
    assert 0.02 < below / 300 < 0.08


def test_what_has_no_answer_says_why() -> None:
    one = delong_test([True, True], [0.2, 0.4], [0.1, 0.5])
    assert (one.auc, one.p, one.reason) == (None, None, "one_class")
    assert delong_interval([True, True], [0.2, 0.4]).reason == "one_class"
    single = delong_test([True, False, False], [0.2, 0.4, 0.1], [0.9, 0.4, 0.1])
    assert (single.auc, single.other_auc, single.difference) == (0.5, 1.0, -0.5)
    assert (single.p, single.reason) == (None, "one_case_of_a_class")
    same = delong_test([True, True, False, False], [0.9, 0.3, 0.5, 0.1], [0.8, 0.2, 0.6, 0.0])
    assert (same.difference, same.p, same.reason) == (0.0, None, "no_variance")
    assert delong_interval([True, True, False, False], [0.9, 0.8, 0.5, 0.1]).reason == "perfect_separation"
    assert delong_interval([True, True, False, False], [0.5, 0.5, 0.5, 0.5]).reason == "no_variance"
    assert "reason" not in delong_test([True, True, False, False], [0.9, 0.3, 0.5, 0.1], [0.1, 0.2, 0.6, 0]).to_json()


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite scores"):
        delong_interval([True, False], [float("nan"), 0.1])
    with pytest.raises(ValueError, match=r"expected one score a case, got truth \(2,\), score \(3,\)"):
        delong_interval([True, False], [0.2, 0.1, 0.3])
