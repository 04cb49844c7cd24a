"""Non-inferiority: the verdict follows the bound of the interval."""

from __future__ import annotations

import math

import pytest

from nnunet_multitask.evaluation.intervals import Interval
from nnunet_multitask.evaluation.noninferiority import non_inferiority


def test_the_bound_decides() -> None:
    interval = Interval(-0.03, 0.01, "bca_2000")
    assert non_inferiority([0.0, -0.02], interval, 0.05)["non_inferior"] is True
    assert non_inferiority([0.0, -0.02], interval, 0.03)["non_inferior"] is False
    assert non_inferiority([0.0, -0.02], interval, 0.05)["bound"] == -0.03


def test_p_by_hand() -> None:
    # 2 units: the mean 0 lies the margin 1 above -1, its standard error is 1: t = 1, of one degree of freedom
    document = non_inferiority([-1.0, 1.0], Interval(-1.0, 1.0, "bca_2000"), 1.0)
    assert document["p"] == pytest.approx(0.5 - math.atan(1) / math.pi)


def test_without_an_interval_there_is_no_verdict() -> None:
    interval = Interval(None, None, "bca_2000", reason="fewer_than_10_units")
    assert non_inferiority([0.5], interval, 0.05) == {
        "margin": 0.05,
        "bound": None,
        "non_inferior": None,
        "p": None,
        "reason": "fewer_than_10_units",
    }


def test_equal_differences_are_the_bound_and_the_reason_stays() -> None:
    interval = Interval(None, None, "bca_2000", reason="all_resamples_equal")
    same = non_inferiority([0.0] * 10, interval, 0.02)
    assert same == {"margin": 0.02, "bound": 0.0, "non_inferior": True, "p": None, "reason": "all_resamples_equal"}
    worse = non_inferiority([-0.5] * 10, interval, 0.02)
    assert (worse["bound"], worse["non_inferior"]) == (-0.5, False)


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a margin above 0, got 0"):
        non_inferiority([0.1, 0.2], Interval(0.0, 0.3, "bca_2000"), 0)
