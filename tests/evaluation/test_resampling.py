"""The vectorised scores of weighted samples are scikit-learn's, sample for sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from nnunet_multitask.evaluation.class_metrics import multiclass_metrics, multilabel_metrics
from nnunet_multitask.evaluation.resampling import (
    binary_statistics,
    multiclass_statistics,
    multilabel_statistics,
    roc_samples,
)


def drawn(rng: np.random.Generator, num_samples: int, num_cases: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return weights (B, N), and for each sample the indices of its cases."""
    weights = rng.multinomial(num_cases, np.full(num_cases, 1 / num_cases), size=num_samples).astype(float)
    return weights, [np.repeat(np.arange(num_cases), row.astype(int)) for row in weights]


def check(sampled: dict[str, np.ndarray], expected: list[dict[str, Any]]) -> None:
    assert sampled
    for name, values in sampled.items():
        metric, _, level = name.partition("/")
        for value, score in zip(values, expected, strict=True):
            wanted = score[metric]
            if level:
                wanted = None if wanted is None else wanted[level]["value"]
            assert value == pytest.approx(math.nan if wanted is None else wanted, nan_ok=True), name


def test_two_classes() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(14) % 3 == 0
    p = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1).round(1)  # ties, and certain ones
    decided = p > 0.5
    weights, indices = drawn(rng, 12, 14)
    both = np.stack([1 - p, p], axis=1)
    expected = [multiclass_metrics(truth[i], decided[i], both[i], ["a", "b"]) for i in indices]
    check(binary_statistics(truth, decided, p)(weights), expected)


def test_several_classes() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 25)
    probabilities = rng.dirichlet(np.ones(3), 25)
    decided = probabilities.argmax(axis=1)
    weights, indices = drawn(rng, 5, 25)
    expected = [multiclass_metrics(truth[i], decided[i], probabilities[i], ["a", "b", "c"]) for i in indices]
    check(multiclass_statistics(truth, decided, probabilities)(weights), expected)


def test_several_labels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((30, 3)) < [0.3, 0.5, 0.6]
    probabilities = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    decided = probabilities > 0.5
    weights, indices = drawn(rng, 5, 30)
    expected = [multilabel_metrics(truth[i], decided[i], probabilities[i], ["a", "b", "c"]) for i in indices]
    check(multilabel_statistics(truth, decided, probabilities)(weights), expected)


def test_a_class_that_no_case_has_is_left_out_but_not_one_that_a_sample_lacks() -> None:
    truth = np.array([[True, False]] + [[False, False]] * 3)
    decided, probabilities = truth.copy(), np.where(truth, 0.9, 0.1)
    recall = multilabel_statistics(truth, decided, probabilities)(np.array([[1, 1, 1, 1], [0, 2, 1, 1]], dtype=float))
    assert recall["recall"] == pytest.approx([1.0, math.nan], nan_ok=True)


def test_curves_of_samples_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(20) % 2 == 0
    score = rng.random(20).round(1)
    weights = rng.integers(0, 4, (5, 20)).astype(float)
    fpr, tpr = roc_samples(weights, truth, score)
    for row in range(5):
        wanted = metrics.roc_curve(truth, score, sample_weight=weights[row], drop_intermediate=False)
        grid = np.linspace(0, 1, 101)
        np.testing.assert_allclose(np.interp(grid, fpr[row], tpr[row]), np.interp(grid, wanted[0], wanted[1]))
