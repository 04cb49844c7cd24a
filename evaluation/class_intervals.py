"""Which score of a classification gets its interval by which method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.delong import delong_interval
from nnunet_multitask.evaluation.intervals import (
    CONFIDENCE,
    MIN_UNITS,
    RESAMPLES,
    Interval,
    Statistics,
    bootstrap_intervals,
    resampled,
    wilson_interval,
)
from nnunet_multitask.evaluation.resampling import (
    binary_statistics,
    decision_statistics,
    multiclass_statistics,
    multilabel_statistics,
    roc_samples,
)

BAND_POINTS = 51


def binary_intervals(
    truth: NDArray[np.bool_],
    decided: NDArray[np.bool_],
    score: NDArray[np.float64],
    units: NDArray[np.integer],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """Return the intervals of the scores of one class against the rest.

    Proportions get Wilson's interval and the AUC DeLong's where every case is a unit of its own. Both take the cases
    for independent: where a unit (patient) has several, they get the bootstrap over units, as everything else does.

    Args:
        truth, decided: (N,) bool.
        score: (N,) probability of the class.
        units: (N,) 0 to U - 1, the patient of each case.
        resamples: of the bootstrap.

    Returns:
        By metric {"low", "high", "method", "confidence"}, null with a "reason". Scores at a fixed level have the keys
        "sensitivity_at_specificity/0.9" and the like; their threshold is chosen anew in every resample.
    """
    found = _bootstrapped(partial(binary_statistics, truth, decided, score), units, resamples)
    if _independent(units):
        found |= {**_proportions(truth, decided), "auc": delong_interval(truth, score)}
    return {name: interval.to_json() for name, interval in found.items()}


def decision_intervals(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], units: NDArray[np.integer], *, resamples: int = RESAMPLES
) -> dict[str, dict[str, Any]]:
    """Return the intervals of the scores that need no probability; as `binary_intervals`."""
    found = _bootstrapped(partial(decision_statistics, truth, decided), units, resamples)
    if _independent(units):
        found |= _proportions(truth, decided)
    return {name: interval.to_json() for name, interval in found.items()}


def multiclass_intervals(
    truth: NDArray[np.integer],
    decided: NDArray[np.integer],
    probabilities: NDArray[np.float64],
    units: NDArray[np.integer],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """Return the intervals of the scores of a target with C classes of which each case has one; as `binary_intervals`.

    Args:
        truth, decided: (N,) 0 to C - 1.
        probabilities: (N, C). Of two classes the second is the positive one, of more the means over them are meant.
        units: (N,).
        resamples: of the bootstrap.
    """
    if probabilities.shape[1] == 2:
        return binary_intervals(truth == 1, decided == 1, probabilities[:, 1], units, resamples=resamples)
    found = _bootstrapped(partial(multiclass_statistics, truth, decided, probabilities), units, resamples)
    if _independent(units):
        found["accuracy"] = wilson_interval(int(np.count_nonzero(truth == decided)), len(truth))
    return {name: interval.to_json() for name, interval in found.items()}


def multilabel_intervals(
    truth: NDArray[np.bool_],
    decided: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    units: NDArray[np.integer],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """Return the intervals of the means over the classes of a multilabel target; as `binary_intervals`.

    Args:
        truth, decided: (N, C) bool.
        probabilities: (N, C).
        units: (N,).
        resamples: of the bootstrap.
    """
    found = _bootstrapped(partial(multilabel_statistics, truth, decided, probabilities), units, resamples)
    if _independent(units):
        right = (truth == decided).all(axis=1)
        found["subset_accuracy"] = wilson_interval(int(np.count_nonzero(right)), len(right))
    return {name: interval.to_json() for name, interval in found.items()}


def roc_band(
    truth: NDArray[np.bool_], score: NDArray[np.float64], units: NDArray[np.integer], *, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Return the pointwise bootstrap band of a ROC curve, for drawing.

    Args:
        truth: (N,) bool.
        score: (N,).
        units: (N,), drawn as a whole.
        resamples: how many.

    Returns:
        {"fpr": 51 points, "low": sensitivity, "high": sensitivity, "method"}: at each false positive rate the 2.5th
        and the 97.5th percentile; None where a class is absent or there are fewer than 10 units.
    """
    num_units = int(units.max()) + 1 if len(units) else 0
    if num_units < MIN_UNITS or not truth.any() or truth.all():
        return None
    grid = np.linspace(0, 1, BAND_POINTS)

    def heights(weights: NDArray[np.float64]) -> Statistics:
        curves = zip(*roc_samples(weights, truth, score), strict=True)
        return {"tpr": np.array([np.interp(grid, fpr, tpr) for fpr, tpr in curves])}

    curves = resampled(heights, units, resamples)["tpr"]
    curves = curves[np.isfinite(curves).all(axis=1)]
    low, high = np.quantile(curves, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return {"fpr": grid.tolist(), "low": low.tolist(), "high": high.tolist(), "method": f"percentile_{resamples}"}


def _proportions(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> dict[str, Interval]:
    """Return Wilson's intervals of the shares among independent cases."""
    counts = {
        "accuracy": (truth == decided, np.ones_like(truth)),
        "precision": (truth, decided),
        "recall": (decided, truth),
        "specificity": (~decided, ~truth),
        "npv": (~truth, ~decided),
    }
    return {
        name: wilson_interval(int(np.count_nonzero(of & among)), int(np.count_nonzero(among)))
        for name, (of, among) in counts.items()
    }


def _bootstrapped(
    make: Callable[[], Callable[[NDArray[np.float64]], Statistics]], units: NDArray[np.integer], resamples: int
) -> dict[str, Interval]:
    return bootstrap_intervals(make(), units, resamples=resamples) if len(units) else {}


def _independent(units: NDArray[np.integer]) -> bool:
    return len(np.unique(units)) == len(units)
