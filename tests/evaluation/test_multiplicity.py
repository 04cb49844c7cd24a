"""Holm's correction by hand."""

from __future__ import annotations

import pytest

from nnunet_multitask.evaluation.multiplicity import holm


def test_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1; the third may not be smaller than the second
    adjusted = holm({"a": 0.03, "b": 0.5, "c": 0.01, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.5, "c": 0.04, "d": 0.06})


def test_never_above_one_and_one_test_stays() -> None:
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.04}) == {"a": 0.04}
    assert holm({}) == {}


def test_what_is_no_p_is_refused() -> None:
    with pytest.raises(ValueError, match="expected p from 0 to 1"):
        holm({"a": 1.2})
