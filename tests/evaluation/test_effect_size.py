"""Effect sizes by hand."""

from __future__ import annotations

import math

import pytest

from nnunet_multitask.evaluation.effect_size import effect_sizes


def test_by_hand() -> None:
    # mean 1, deviations -2, 1, 1: variance 3; ranks of 1, 2, 2 are 1, 2.5, 2.5, the first of a negative difference
    sizes = effect_sizes([-1.0, 2.0, 2.0])
    assert sizes["cohens_dz"] == {"value": pytest.approx(1 / math.sqrt(3))}
    assert sizes["rank_biserial"] == {"value": pytest.approx((5 - 1) / 6)}


def test_differences_of_zero_have_no_rank() -> None:
    assert effect_sizes([0.0, 0.0, 0.5, 2.0])["rank_biserial"] == {"value": 1.0}


@pytest.mark.parametrize(
    ("differences", "reason"), [([], "n_below_2"), ([1.0], "n_below_2"), ([0.0, 0.0], "all_differences_zero")]
)
def test_null_comes_with_a_reason(differences: list[float], reason: str) -> None:
    nothing = {"value": None, "reason": reason}
    assert effect_sizes(differences) == {"cohens_dz": nothing, "rank_biserial": nothing}


def test_equal_differences_have_ranks_but_no_spread() -> None:
    sizes = effect_sizes([-2.0, -2.0, -2.0])
    assert sizes == {"cohens_dz": {"value": None, "reason": "all_differences_equal"}, "rank_biserial": {"value": -1.0}}
