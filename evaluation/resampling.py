"""The scores of many weighted samples at once, for the bootstrap: the same numbers as scikit-learn's with weights.

Every function takes weights (B, N), the number of times each of N cases is in each of B samples, and returns (B,)
values by metric, NaN where a sample does not define it. The tests hold each against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.binary_metrics import CLASS_METRICS, FIXED_LEVELS, SHARED_METRICS
from nnunet_multitask.evaluation.probability_metrics import clipped

Weights = NDArray[np.float64]
Sampled = dict[str, NDArray[np.float64]]


def decision_statistics(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> Callable[[Weights], Sampled]:
    """Return the function that scores samples of the decisions for one class against the rest.

    Args:
        truth, decided: (N,) bool.
    """
    cells = np.stack([truth & decided, truth & ~decided, ~truth & decided, ~truth & ~decided], axis=1).astype(float)
    return lambda weights: _of_counts(*(weights @ cells).T)


def binary_statistics(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], score: NDArray[np.float64]
) -> Callable[[Weights], Sampled]:
    """Return the function that scores samples of one class against the rest.

    Args:
        truth, decided: (N,) bool.
        score: (N,) the probability of the class.
    """
    of_decisions = decision_statistics(truth, decided)
    losses = np.stack([(score - truth) ** 2, -np.log(np.where(truth, clipped(score), clipped(1 - score)))], axis=1)

    def statistics(weights: Weights) -> Sampled:
        brier, log_loss = (weights @ losses).T / weights.sum(axis=1)
        ranked = _of_ranks(weights, truth, score)
        return {**of_decisions(weights), **ranked, "brier": brier, "log_loss": log_loss}

    return statistics


def multiclass_statistics(
    truth: NDArray[np.integer], decided: NDArray[np.integer], probabilities: NDArray[np.float64]
) -> Callable[[Weights], Sampled]:
    """Return the function that scores samples of decisions for one of C classes, with means over the classes.

    Args:
        truth, decided: (N,) 0 to C - 1.
        probabilities: (N, C).
    """
    num_classes = probabilities.shape[1]
    cells = np.eye(num_classes**2)[truth * num_classes + decided]  # (N, C * C)
    rows = clipped(probabilities) / clipped(probabilities).sum(axis=1, keepdims=True)
    squares = ((probabilities - np.eye(num_classes)[truth]) ** 2).sum(axis=1)
    losses = np.stack([squares, -np.log(rows[np.arange(len(truth)), truth])], axis=1)
    of_classes = [binary_statistics(truth == k, decided == k, probabilities[:, k]) for k in range(num_classes)]
    means = _class_means(of_classes, CLASS_METRICS, len(truth))

    def statistics(weights: Weights) -> Sampled:
        brier, log_loss = (weights @ losses).T / weights.sum(axis=1)
        matrices = (weights @ cells).reshape(-1, num_classes, num_classes)
        return {**means(weights), **_of_matrices(matrices), "brier": brier, "log_loss": log_loss}

    return statistics


def multilabel_statistics(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> Callable[[Weights], Sampled]:
    """Return the function that scores samples of decisions for any of C classes, as means over the classes.

    Args:
        truth, decided: (N, C) bool.
        probabilities: (N, C).
    """
    of_classes = [
        binary_statistics(truth[:, k], decided[:, k], probabilities[:, k]) for k in range(probabilities.shape[1])
    ]
    right = (truth == decided).all(axis=1).astype(float)
    means = _class_means(of_classes, (*SHARED_METRICS, *CLASS_METRICS, "brier", "log_loss"), len(truth))

    def statistics(weights: Weights) -> Sampled:
        return {**means(weights), "subset_accuracy": weights @ right / weights.sum(axis=1)}

    return statistics


def roc_samples(
    weights: Weights, truth: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ROC curve of each sample, (B, K + 1) false and true positive rates by falling threshold.

    K is the number of different scores; a sample without positives or without negatives gives NaN.
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    columns = []
    for part in (~truth, truth):
        sums = np.add.reduceat(weights[:, order] * part[order], starts, axis=1).cumsum(axis=1)
        with np.errstate(invalid="ignore"):
            columns.append(np.pad(sums / sums[:, -1:], ((0, 0), (1, 0))))
    return columns[0], columns[1]


def _of_counts(
    tp: NDArray[np.float64], fn: NDArray[np.float64], fp: NDArray[np.float64], tn: NDArray[np.float64]
) -> Sampled:
    """Return the metrics of (B,) counts."""
    return {
        **_of_matrices(np.stack([np.stack([tn, fp], axis=1), np.stack([fn, tp], axis=1)], axis=1)),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
    }


def _of_matrices(matrices: NDArray[np.float64]) -> Sampled:
    """Return `SHARED_METRICS` of (B, C, C) confusion matrices, rows the reference."""
    n = matrices.sum(axis=(1, 2))
    of_reference, of_decision = matrices.sum(axis=2), matrices.sum(axis=1)  # (B, C)
    right = np.einsum("bcc->bc", matrices)
    several = np.count_nonzero(of_reference, axis=1) > 1
    recalls = _ratio(right, of_reference)
    by_chance = (of_reference * of_decision).sum(axis=1)
    spread = np.sqrt((n**2 - (of_reference**2).sum(axis=1)) * (n**2 - (of_decision**2).sum(axis=1)))
    covariance = right.sum(axis=1) * n - by_chance
    values = {
        "balanced_accuracy": np.nansum(recalls, axis=1) / np.isfinite(recalls).sum(axis=1),
        # where every case gets the same decision the coefficient is taken for 0, as scikit-learn does
        "mcc": np.where(spread > 0, _ratio(covariance, spread), 0.0),
        "kappa": _ratio(covariance, n**2 - by_chance),
    }
    return {
        "accuracy": right.sum(axis=1) / n,
        **{name: np.where(several, value, np.nan) for name, value in values.items()},
    }


def _of_ranks(weights: Weights, truth: NDArray[np.bool_], score: NDArray[np.float64]) -> Sampled:
    fpr, tpr = roc_samples(weights, truth, score)
    positives, negatives = weights @ truth, weights @ ~truth
    area = ((fpr[:, 1:] - fpr[:, :-1]) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1)
    called = tpr * positives[:, None], fpr * negatives[:, None]
    precision = _ratio(called[0], called[0] + called[1])[:, 1:]
    gain = tpr[:, 1:] - tpr[:, :-1]
    defined = (positives > 0) & (negatives > 0)
    found: Sampled = {
        "auc": area,
        "average_precision": np.where(gain > 0, gain * np.nan_to_num(precision), 0.0).sum(axis=1),
    }
    for level in FIXED_LEVELS:
        reached = {"sensitivity_at_specificity": (1 - fpr, tpr), "specificity_at_sensitivity": (tpr, 1 - fpr)}
        for name, (fixed, best) in reached.items():
            found[f"{name}/{level:g}"] = np.where(fixed >= level - 1e-12, best, 0.0).max(axis=1)
    return {name: np.where(defined, values, np.nan) for name, values in found.items()}


def _class_means(
    of_classes: Sequence[Callable[[Weights], Sampled]], names: Sequence[str], num_cases: int
) -> Callable[[Weights], Sampled]:
    """Return the function that averages each metric over the classes in which all cases together define it."""
    whole = [function(np.ones((1, num_cases))) for function in of_classes]
    defined = {name: [k for k, values in enumerate(whole) if np.isfinite(values[name][0])] for name in names}

    def means(weights: Weights) -> Sampled:
        sampled = [function(weights) for function in of_classes]
        undefined = np.full(len(weights), np.nan)
        return {
            name: np.mean([sampled[k][name] for k in places], axis=0) if places else undefined
            for name, places in defined.items()
        }

    return means


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
