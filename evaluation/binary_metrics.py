"""Scores of one class against the rest: decisions, ranking, probability. scikit-learn does the arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from nnunet_multitask.evaluation.probability_metrics import class_probability_metrics

# need no positive class
SHARED_METRICS = ("accuracy", "balanced_accuracy", "mcc", "kappa")
# of a positive class; averaged over classes where there are several
CLASS_METRICS = ("precision", "recall", "specificity", "npv", "f1", "auc", "average_precision")
FIXED_LEVELS = (0.8, 0.9, 0.95)  # of specificity or sensitivity at which the other is given


def one_against_rest(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], score: NDArray[np.float64]
) -> dict[str, Any]:
    """Return every score of one class.

    Args:
        truth: (N,) whether the case has the class.
        decided: (N,) whether the model says so.
        score: (N,) its probability of the class.

    Returns:
        Numbers by name, "confusion_matrix", "roc", "reliability" and, by fixed level, "sensitivity_at_specificity" and
        "specificity_at_sensitivity". What is not defined is null, with its reason under "reasons".
    """
    decisions, ranking = decision_metrics(truth, decided), ranking_metrics(truth, score)
    probability, reasons = class_probability_metrics(truth, score)
    for part in (decisions, ranking):
        reasons |= part.pop("reasons", {})
    return with_reasons({**decisions, **ranking, **probability}, reasons)


def decision_metrics(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the scores of one class that need no probability; as `one_against_rest`."""
    values: dict[str, Any]
    values, reasons = shared_metrics(truth, decided)
    for name, function, labels, decisions, reason in (
        ("precision", metrics.precision_score, truth, decided, "no_positive_decision"),
        ("recall", metrics.recall_score, truth, decided, "no_positive_reference"),
        ("specificity", metrics.recall_score, ~truth, ~decided, "no_negative_reference"),
        ("npv", metrics.precision_score, ~truth, ~decided, "no_negative_decision"),
        ("f1", metrics.f1_score, truth, decided, "no_positive_reference_or_decision"),
    ):
        values[name] = _number(function, labels, decisions)
        if values[name] is None:
            reasons[name] = reason if len(truth) else "no_cases"
    matrix = metrics.confusion_matrix(truth, decided, labels=[False, True]).tolist() if len(truth) else [[0, 0], [0, 0]]
    return with_reasons({**values, "confusion_matrix": matrix}, reasons)


def shared_metrics(truth: NDArray[Any], decided: NDArray[Any]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return `SHARED_METRICS` of (N,) class indices, and reasons: "no_cases", "one_class"."""
    if not len(truth):
        return dict.fromkeys(SHARED_METRICS), dict.fromkeys(SHARED_METRICS, "no_cases")
    values: dict[str, float | None] = {"accuracy": float(metrics.accuracy_score(truth, decided))}
    if len(np.unique(truth)) < 2:
        undefined = SHARED_METRICS[1:]
        return values | dict.fromkeys(undefined), dict.fromkeys(undefined, "one_class")
    # the mean recall of the classes that occur: those without a case have no recall
    values["balanced_accuracy"] = float(
        metrics.recall_score(truth, decided, labels=np.unique(truth), average="macro", zero_division=0)
    )
    values["mcc"] = float(metrics.matthews_corrcoef(truth, decided))
    values["kappa"] = float(metrics.cohen_kappa_score(truth, decided))
    return values, {}


def ranking_metrics(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> dict[str, Any]:
    """Return what depends on the order of the scores alone.

    Args:
        truth: (N,) whether the case has the class.
        score: (N,) larger for the class; no probability is needed.

    Returns:
        "auc", "average_precision", "roc" (points by falling threshold), "sensitivity_at_specificity" and
        "specificity_at_sensitivity" by fixed level; null with "reasons" ("one_class", "no_cases").
    """
    names = ("auc", "average_precision", "roc", "sensitivity_at_specificity", "specificity_at_sensitivity")
    if not truth.any() or truth.all():
        return with_reasons(dict.fromkeys(names), dict.fromkeys(names, "one_class" if len(truth) else "no_cases"))
    fpr, tpr, thresholds = metrics.roc_curve(truth, score)
    return {
        "auc": float(metrics.roc_auc_score(truth, score)),
        "average_precision": float(metrics.average_precision_score(truth, score)),
        "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "thresholds": [None, *thresholds[1:].tolist()]},
        **_at_fixed_levels(truth, score),
    }


def with_reasons(document: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    """Return the document, with its reasons where there are any."""
    return {**document, "reasons": reasons} if reasons else document


def _at_fixed_levels(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> dict[str, Any]:
    fpr, tpr, thresholds = metrics.roc_curve(truth, score, drop_intermediate=False)
    specificity = 1 - fpr
    points: dict[str, Any] = {"sensitivity_at_specificity": {}, "specificity_at_sensitivity": {}}
    for level in FIXED_LEVELS:
        for key, fixed, best in (
            ("sensitivity_at_specificity", specificity, tpr),
            ("specificity_at_sensitivity", tpr, specificity),
        ):
            allowed = fixed >= level - 1e-12
            # of several best thresholds the one at which the fixed number is highest, too
            index = max(np.flatnonzero(allowed), key=lambda i: (best[i], fixed[i]))
            threshold = float(thresholds[index])
            points[key][f"{level:g}"] = {
                "value": float(best[index]),
                "reached": float(fixed[index]),
                "threshold": threshold if math.isfinite(threshold) else None,
            }
    return points


def _number(function: Any, truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> float | None:
    if not len(truth):
        return None
    value = float(function(truth, decided, zero_division=np.nan))  # NaN: the denominator is 0
    return value if math.isfinite(value) else None
