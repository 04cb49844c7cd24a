"""How far probabilities can be trusted: Brier score, log loss, expected calibration error, reliability curve."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

SMALLEST = 5e-7  # half of the last of the six digits that classification.json keeps: what a written 0 may have been
TOP_LABEL_BINS = 15
CLASS_BINS = 10
TOP_LABEL_ECE = f"ece_{TOP_LABEL_BINS}_equal_width_top_label"
EQUAL_WIDTH_ECE = f"ece_{CLASS_BINS}_equal_width"
EQUAL_MASS_ECE = f"ece_{CLASS_BINS}_equal_mass"

Binning = Literal["equal_width", "equal_mass"]


def clipped(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities moved into 5e-7 to 1 - 5e-7, so that their logarithms are finite."""
    return np.clip(probabilities, SMALLEST, 1 - SMALLEST)


def class_probability_metrics(
    truth: NDArray[np.bool_], probability: NDArray[np.float64]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Score the probability of one class against the rest.

    Args:
        truth: (N,) whether the case has the class.
        probability: (N,) 0 to 1.

    Returns:
        Brier score, log loss, ECE with 10 bins of equal width and of equal mass, and "reliability", the points of the
        reliability curve with bins of equal mass; and by metric the reason why it is null: "no_cases",
        "fewer_cases_than_bins".
    """
    names = ("brier", "log_loss", EQUAL_WIDTH_ECE, EQUAL_MASS_ECE, "reliability")
    if not len(truth):
        return dict.fromkeys(names), dict.fromkeys(names, "no_cases")
    values: dict[str, Any] = {
        "brier": float(np.mean((probability - truth) ** 2)),
        "log_loss": float(metrics.log_loss(truth, clipped(probability), labels=[False, True])),
    }
    if len(truth) < CLASS_BINS:
        binned = (EQUAL_WIDTH_ECE, EQUAL_MASS_ECE, "reliability")
        return values | dict.fromkeys(binned), dict.fromkeys(binned, "fewer_cases_than_bins")
    curve = reliability_curve(truth, probability, CLASS_BINS, "equal_mass")
    values[EQUAL_WIDTH_ECE] = _gap(reliability_curve(truth, probability, CLASS_BINS, "equal_width"))
    values[EQUAL_MASS_ECE] = _gap(curve)
    values["reliability"] = {name: column.tolist() for name, column in curve.items()}
    return values, {}


def multiclass_probability_metrics(
    truth: NDArray[np.integer], probabilities: NDArray[np.float64]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Score the probabilities of all classes of which each case has one.

    Args:
        truth: (N,) 0 to C - 1.
        probabilities: (N, C), each row sums to 1.

    Returns:
        Brier score (sum over the classes, 0 to 2; of two classes that of the second alone, 0 to 1), log loss, and the
        ECE of the most probable class with 15 bins of equal width; and reasons as `class_probability_metrics`.
    """
    names = ("brier", "log_loss", TOP_LABEL_ECE)
    if not len(truth):
        return dict.fromkeys(names), dict.fromkeys(names, "no_cases")
    num_classes = probabilities.shape[1]
    one_hot = np.eye(num_classes)[truth]
    squares = ((probabilities - one_hot) ** 2).sum(axis=1)
    rows = clipped(probabilities)
    rows = rows / rows.sum(axis=1, keepdims=True)
    values: dict[str, float | None] = {
        "brier": float(squares.mean()) / (2 if num_classes == 2 else 1),
        "log_loss": float(metrics.log_loss(truth, rows, labels=list(range(num_classes)))),
    }
    if len(truth) < TOP_LABEL_BINS:
        return values | {TOP_LABEL_ECE: None}, {TOP_LABEL_ECE: "fewer_cases_than_bins"}
    right = probabilities.argmax(axis=1) == truth
    values[TOP_LABEL_ECE] = expected_calibration_error(right, probabilities.max(axis=1), TOP_LABEL_BINS, "equal_width")
    return values, {}


def expected_calibration_error(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], num_bins: int, binning: Binning
) -> float:
    """Return the mean over the cases of |mean probability - share of positives| of the bin that each case is in.

    Args:
        truth: (N,) bool, N > 0.
        probability: (N,) 0 to 1.
        num_bins, binning: see `reliability_curve`.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017, eq. 3.
    The name of the number says what is in truth and probability, and which bins: 0.09 to 0.23 on the same data.
    """
    return _gap(reliability_curve(truth, probability, num_bins, binning))


def reliability_curve(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], num_bins: int, binning: Binning
) -> dict[str, NDArray[Any]]:
    """Return the points of a reliability curve.

    Args:
        truth: (N,) bool, N > 0.
        probability: (N,) 0 to 1.
        num_bins: bins; empty ones are left out of the result.
        binning: "equal_width", (k / M, (k + 1) / M]; or "equal_mass", between the quantiles of the probabilities, so
            that the bins hold equally many cases; equal probabilities always share a bin.

    Returns:
        "probability", the mean of each bin, "share" of positives, "n"; each (bins that hold a case,).
    """
    if binning == "equal_width":
        edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    else:
        edges = np.quantile(probability, np.linspace(0, 1, num_bins + 1)[1:-1])
    places = np.searchsorted(edges, probability)  # a value on an edge belongs to the bin below, as Guo's
    n = np.bincount(places, minlength=num_bins)
    used = n > 0
    return {
        "probability": np.bincount(places, probability, num_bins)[used] / n[used],
        "share": np.bincount(places, truth, num_bins)[used] / n[used],
        "n": n[used],
    }


def _gap(curve: dict[str, NDArray[Any]]) -> float:
    return float(np.average(np.abs(curve["probability"] - curve["share"]), weights=curve["n"]))
