"""Paired tests: by hand, and null with a reason where there is no answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from nnunet_multitask.evaluation.statistics import (
    EXACT_UP_TO,
    PairedTest,
    paired_t_test,
    permutation_test,
    wilcoxon_test,
    win_tie_loss,
)


def test_paired_t_by_hand() -> None:
    # differences 1, 2, 3: mean 2, standard error 1 / sqrt(3); with 2 degrees of freedom p has a closed form
    result = paired_t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    t = 2 * math.sqrt(3)
    assert result.statistic == pytest.approx(t)
    assert result.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert (result.n, result.reason) == (3, None)


def test_wilcoxon_by_hand() -> None:
    # all five differences are positive: rank sum 0, exact p = 2 / 2 ** 5
    result = wilcoxon_test([1.1, 2.2, 3.3, 4.4, 5.5], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert result.statistic == 0.0
    assert result.p == pytest.approx(0.0625)


def test_permutation_by_hand() -> None:
    # of the 8 sign patterns of 1, 2, 4 four have a sum of 5 or more without its sign: +++, -++ and their opposites
    result = permutation_test([1.0, 2.0, 5.0], [2.0, 0.0, 1.0])
    assert (result.statistic, result.p) == (pytest.approx(5 / 3), 0.5)
    assert permutation_test([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]).p == 0.25


def test_sums_that_rounding_tells_apart_are_equal() -> None:
    # 0.1 + 0.2 and 0.3 are no equal floats; by hand |sum| >= 0.6 for 2 of 16 patterns of 0.1, 0.2, 0.3, 0.0: twice two
    assert permutation_test([0.1, 0.2, 0.3, 0.0], [0.0] * 4).p == 0.25
    assert permutation_test([0.3, -0.2, -0.1], [0.0] * 3).p == 1.0


@pytest.mark.parametrize("n", [8, EXACT_UP_TO + 1])
def test_permutation_agrees_with_scipy(n: int) -> None:
    differences = np.random.default_rng(3).normal(0.4, 1, n)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**n)
    result = permutation_test(differences.tolist(), [0.0] * n)
    assert result.p == pytest.approx(expected.pvalue, abs=1e-12 if n <= EXACT_UP_TO else 0.02)
    assert permutation_test(differences.tolist(), [0.0] * n) == result


@pytest.mark.parametrize("test", [paired_t_test, wilcoxon_test, permutation_test])
@pytest.mark.parametrize(
    ("model", "baseline", "reason"),
    [([], [], "n_below_2"), ([1.0], [0.0], "n_below_2"), ([0.5, 0.7, 0.9], [0.5, 0.7, 0.9], "all_differences_zero")],
)
def test_null_comes_with_a_reason(
    test: Callable[..., PairedTest], model: list[float], baseline: list[float], reason: str
) -> None:
    document = test(model, baseline).to_json()
    assert document == {"statistic": None, "p": None, "n": len(model), "reason": reason}


def test_equal_differences_have_no_t_but_a_wilcoxon() -> None:
    assert paired_t_test([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).reason == "all_differences_equal"
    assert wilcoxon_test([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p == pytest.approx(0.25)


def test_two_cases_have_an_answer() -> None:
    assert paired_t_test([1.0, 3.0], [0.0, 0.0]).p == pytest.approx(1 - 2 / math.pi * math.atan(2))
    assert "reason" not in wilcoxon_test([1.0, 3.0], [0.0, 0.0]).to_json()


def test_win_tie_loss_knows_the_direction() -> None:
    assert win_tie_loss([1, 2, 3, 4], [0, 2, 4, 3], higher_is_better=True) == (2, 1, 1)
    assert win_tie_loss([1, 2, 3, 4, 5], [0, 2, 4, 3, 0], higher_is_better=False) == (1, 1, 3)


def test_scores_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="expected as many scores of the model as of the baseline, got 1, 2"):
        paired_t_test([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="expected finite scores"):
        wilcoxon_test([math.inf, 1.0], [1.0, 2.0])
