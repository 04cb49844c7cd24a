"""McNemar's exact test by hand."""

from __future__ import annotations

import pytest

from nnunet_multitask.evaluation.mcnemar import mcnemar_test


def test_by_hand() -> None:
    # five cases differ, the model is right in all of them: p = 2 / 2 ** 5
    assert mcnemar_test([1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]) == {
        "method": "mcnemar_exact",
        "n": 8,
        "both_right": 1,
        "only_model_right": 5,
        "only_baseline_right": 0,
        "both_wrong": 2,
        "p": pytest.approx(2 / 32),
    }


def test_who_is_who_does_not_change_p() -> None:
    model, baseline = [1, 1, 1, 0, 1, 0], [0, 1, 0, 1, 0, 0]
    assert mcnemar_test(model, baseline)["p"] == mcnemar_test(baseline, model)["p"] == pytest.approx(10 / 16)


def test_null_comes_with_a_reason() -> None:
    assert (mcnemar_test([], [])["p"], mcnemar_test([], [])["reason"]) == (None, "no_cases")
    assert mcnemar_test([1, 0], [1, 0])["reason"] == "no_discordant_case"


def test_answers_of_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one answer a case of each model"):
        mcnemar_test([1], [1, 0])
