"""Brier score, log loss, calibration error: by hand, and the bins against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from nnunet_multitask.evaluation.probability_metrics import (
    class_probability_metrics,
    expected_calibration_error,
    multiclass_probability_metrics,
    reliability_curve,
)


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9])
    truth = np.array([1, 0, 0, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    # lower bin: 0.1 said, 0.2 found; upper bin: 0.9 said, 0.6 found; half of the cases each
    assert expected_calibration_error(truth, probability, 10, "equal_width") == pytest.approx(0.5 * 0.1 + 0.5 * 0.3)
    values, reasons = class_probability_metrics(truth, probability)
    assert values["ece_10_equal_width"] == pytest.approx(0.2)
    assert values["ece_10_equal_mass"] == pytest.approx(0.2)  # equal values share a bin, wherever the quantiles lie
    assert values["reliability"] == {
        "probability": pytest.approx([0.1, 0.9]),
        "share": pytest.approx([0.2, 0.6]),
        "n": [5, 5],
    }
    assert values["brier"] == pytest.approx((0.81 + 4 * 0.01 + 3 * 0.01 + 2 * 0.81) / 10)
    assert values["log_loss"] == pytest.approx(
        -(4 * math.log(0.9) + math.log(0.1) + 3 * math.log(0.9) + 2 * math.log(0.1)) / 10
    )
    assert reasons == {}


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_bins_are_those_of_scikit_learn(binning: str, strategy: str) -> None:
    rng = np.random.default_rng(0)
    probability = rng.beta(0.7, 0.5, 400).round(3)
    truth = rng.random(400) < probability**2
    curve = reliability_curve(truth, probability, 10, binning)
    share, mean = calibration_curve(truth, probability, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(curve["share"], share)
    np.testing.assert_allclose(curve["probability"], mean)
    assert curve["n"].sum() == 400


def test_probabilities_that_tell_the_truth_have_a_small_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    truth = rng.random(20_000) < probability
    values, _ = class_probability_metrics(truth, probability)
    assert values["ece_10_equal_mass"] < 0.015
    assert values["brier"] == pytest.approx(1 / 6, abs=0.005)  # the mean of p (1 - p)


def test_several_classes_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]] * 10)
    truth = np.array([0, 2] * 10)
    values, _ = multiclass_probability_metrics(truth, probabilities)
    assert values["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.04 + 0.25 + 0.49) / 2)
    assert values["log_loss"] == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)
    assert values["ece_15_equal_width_top_label"] == pytest.approx((0.3 + 0.5) / 2)
    two, _ = multiclass_probability_metrics(np.array([0, 1]), np.array([[0.9, 0.1], [0.4, 0.6]]))
    assert two["brier"] == pytest.approx((0.01 + 0.16) / 2)  # of the second class alone


def test_certain_and_wrong_is_finite() -> None:
    values, _ = class_probability_metrics(np.array([True]), np.array([0.0]))
    assert values["log_loss"] == pytest.approx(-math.log(5e-7))
    values, _ = multiclass_probability_metrics(np.array([0]), np.array([[0.0, 1.0]]))
    assert values["log_loss"] == pytest.approx(-math.log(5e-7), rel=1e-5)


def test_too_few_cases_for_bins_and_none_at_all() -> None:
    values, reasons = class_probability_metrics(np.ones(9, dtype=bool), np.full(9, 0.8))
    assert values["ece_10_equal_mass"] is values["reliability"] is None
    assert reasons["ece_10_equal_mass"] == "fewer_cases_than_bins"
    values, reasons = class_probability_metrics(np.zeros(0, dtype=bool), np.zeros(0))
    assert set(values.values()) == {None}
    assert set(reasons.values()) == {"no_cases"}
    values, reasons = multiclass_probability_metrics(np.zeros(0, dtype=int), np.zeros((0, 3)))
    assert (set(values.values()), set(reasons.values())) == ({None}, {"no_cases"})
