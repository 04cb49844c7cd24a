"""Thresholds by named rules: by hand, at the ends, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.thresholds import DEFAULT_RULES, choose_threshold, parse_rule

#              the fifth positive hides among the negatives
PROBABILITY = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.6, 0.7, 0.8, 0.9])
TRUTH = np.array([0, 0, 1, 0, 0, 1, 1, 1, 1], dtype=bool)


def threshold(
    rule: str, truth: np.ndarray = TRUTH, p: np.ndarray = PROBABILITY, folds: list[int] | None = None
) -> float:
    value, reason = choose_threshold(parse_rule(rule), truth, p, folds)
    assert reason is None
    return value


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("youden", 0.5),  # sensitivity 4/5, specificity 1
        ("max_f1", 0.5),  # F1 8/9; 0.25 gives 10/12
        ("sensitivity_at_least_0.8", 0.5),
        ("sensitivity_at_least_0.9", 0.25),  # all five
        ("sensitivity_at_least_0.2", 0.85),
        ("specificity_at_least_0.9", 0.5),
        ("specificity_at_least_0.75", 0.375),
        ("specificity_at_least_0.5", 0.25),
    ],
)
def test_by_hand(rule: str, value: float) -> None:
    assert threshold(rule) == pytest.approx(value)


def test_maximum_of_the_mean_curve_of_the_folds() -> None:
    # fold 0 alone would choose 0.3, fold 1 alone 0.7: their mean is largest between, where neither loses much
    p = np.array([0.1, 0.2, 0.4, 0.5, 0.5, 0.55, 0.8, 0.9])
    truth = np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=bool)
    folds = [0, 0, 0, 0, 1, 1, 1, 1]
    found = threshold("mean_f1_over_folds", truth, p, folds)
    grid = np.linspace(0.01, 0.99, 99)
    halves = [(truth[:4], p[:4]), (truth[4:], p[4:])]
    curve = [np.mean([f1_score(t, q >= limit) for t, q in halves]) for limit in grid]
    at_found = np.mean([f1_score(t, q >= found) for t, q in halves])
    assert at_found == pytest.approx(max(curve))
    assert threshold("max_f1", truth[4:], p[4:]) == pytest.approx(0.675)
    assert threshold("max_f1", truth[:4], p[:4]) == pytest.approx(0.3)


def test_pooled_and_mean_curve_differ() -> None:
    # a large fold of low probabilities outvotes a small one when they are pooled
    p = np.concatenate([np.linspace(0.05, 0.35, 40), [0.5, 0.6, 0.9, 0.95]])
    truth = np.concatenate([np.arange(40) >= 10, [False, False, True, True]])
    folds = [0] * 40 + [1] * 4
    assert threshold("max_f1", truth, p) < 0.2 < threshold("mean_f1_over_folds", truth, p, folds) or threshold(
        "mean_f1_over_folds", truth, p, folds
    ) == pytest.approx(threshold("max_f1", truth, p))


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    assert threshold("youden", np.array([False, True]), np.array([0.4, 0.9])) == pytest.approx(0.65)
    p = np.array([0.2, 0.7, 0.8, 0.3])
    truth = np.array([False, True, False, True])  # 0.25 and 0.75 (or above) are worth the same, 0.5 is no better
    assert threshold("youden", truth, p) == pytest.approx(0.25)


def test_a_rule_holds_on_the_cases_it_was_fitted_on() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth = rng.random(30) < 0.4
        p = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1).round(2)
        assert (p[truth] >= threshold("sensitivity_at_least_0.9", truth, p)).mean() >= 0.9
        value, reason = choose_threshold(parse_rule("specificity_at_least_0.9"), truth, p)
        assert reason is not None or (p[~truth] < value).mean() >= 0.9


@pytest.mark.parametrize(
    ("rule", "truth", "p", "folds", "reason"),
    [
        ("youden", [1, 1], [0.1, 0.9], None, "one_class"),
        ("youden", [1, 0], [0.1, 0.9], None, "no_better_than_chance"),
        ("youden", [1, 0], [0.5, 0.5], None, "no_better_than_chance"),
        ("specificity_at_least_0.9", [1, 0], [0.5, 1.0], None, "not_reached"),
        ("mean_f1_over_folds", [1, 0], [0.9, 0.1], None, "no_folds"),
        ("mean_f1_over_folds", [1, 0, 0], [0.9, 0.1, 0.2], [0, 0, 1], "one_fold"),
    ],
)
def test_no_threshold_says_why(
    rule: str, truth: list[int], p: list[float], folds: list[int] | None, reason: str
) -> None:
    found = choose_threshold(parse_rule(rule), np.array(truth, dtype=bool), np.array(p), folds)
    assert found == (None, reason)


def test_rules_by_name() -> None:
    assert [parse_rule(name).name for name in DEFAULT_RULES] == list(DEFAULT_RULES)
    assert parse_rule("sensitivity_at_least_0.950").name == "sensitivity_at_least_0.95"
    assert parse_rule("sensitivity_at_least_0.9").needed() == (10, 0)
    assert parse_rule("specificity_at_least_0.95").needed() == (0, 20)
    assert parse_rule("youden").needed() == (0, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yuoden", r"\[bad-rule\] yuoden: expected one of the rules youden, .* -> did you mean youden\?"),
        ("best", r"\[bad-rule\] best: .* -> name one of these"),
        ("sensitivity_at_least_S", r"expected a level above 0 and below 1, got 'S' -> .*sensitivity_at_least_0.9"),
        ("specificity_at_least_1", r"expected a level above 0 and below 1, got '1'"),
    ],
)
def test_unknown_rules_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(name)
