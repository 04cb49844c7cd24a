"""Scores of decisions and probabilities of a whole target: two classes, one of several, any of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import metrics

from nnunet_multitask.evaluation.binary_metrics import (
    CLASS_METRICS,
    SHARED_METRICS,
    one_against_rest,
    shared_metrics,
    with_reasons,
)
from nnunet_multitask.evaluation.probability_metrics import (
    EQUAL_MASS_ECE,
    EQUAL_WIDTH_ECE,
    multiclass_probability_metrics,
)

# of several classes the mean over them
CLASS_ECES = (EQUAL_WIDTH_ECE, EQUAL_MASS_ECE)
FIXED_LEVEL_METRICS = ("sensitivity_at_specificity", "specificity_at_sensitivity")


def multiclass_metrics(
    reference: ArrayLike, decision: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """Score decisions for one of C classes; a binary target is the case C = 2.

    Args:
        reference: (N,) class indices.
        decision: (N,) class indices.
        probabilities: (N, C), 0 to 1, each row sums to 1.
        classes: C names. Of two classes the second is the positive one.

    Returns:
        The metrics that `classification.DEFINITIONS` explains, means over the classes under "averages", "support" and
        the same one class against the rest under "per_class". What is not defined is null, with its reason under
        "reasons": "no_cases", "one_class" (the reference knows one class only), "no_positive_decision",
        "no_positive_reference", "fewer_cases_than_bins" and the like.
    """
    truth, decided = np.asarray(reference, dtype=int), np.asarray(decision, dtype=int)
    scores = np.asarray(probabilities, dtype=np.float64).reshape(len(truth), len(classes))
    indices = list(range(len(classes)))
    per_class = {
        name: one_against_rest(truth == index, decided == index, scores[:, index]) for index, name in enumerate(classes)
    }
    support = {name: int(np.count_nonzero(truth == index)) for index, name in enumerate(classes)}
    values: dict[str, Any]
    values, reasons = shared_metrics(truth, decided)
    if len(classes) == 2:
        positive = per_class[classes[1]]
        names = (*CLASS_METRICS, *FIXED_LEVEL_METRICS, *CLASS_ECES)
        values |= {name: positive[name] for name in names}
        reasons |= {name: reason for name, reason in positive.get("reasons", {}).items() if name in names}
    else:
        averages, average_reasons = _averages(per_class, (*CLASS_METRICS, *CLASS_ECES))
        values |= averages
        reasons |= average_reasons | {"positive_class": "averaged_over_classes"}
    probability, probability_reasons = multiclass_probability_metrics(truth, scores)
    return with_reasons(
        {
            "n": len(truth),
            "averaging": f"positive class: {classes[1]}" if len(classes) == 2 else "macro",
            "positive_class": classes[1] if len(classes) == 2 else None,
            **values,
            **probability,
            "averages": _both_averages(per_class, support),
            "support": support,
            "confusion_matrix": metrics.confusion_matrix(truth, decided, labels=indices).tolist()
            if len(truth)
            else [[0] * len(classes) for _ in classes],
            "per_class": per_class,
        },
        reasons | probability_reasons,
    )


def multilabel_metrics(
    reference: ArrayLike, decision: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """Score decisions for any of C classes.

    Args:
        reference: (N, C), 0 or 1.
        decision: (N, C), 0 or 1.
        probabilities: (N, C), 0 to 1.
        classes: C names.

    Returns:
        As `multiclass_metrics`: each class against the rest, the mean over the classes, and "subset_accuracy", the
        share of cases with every class right. There is no confusion matrix of all classes, only one of each.
    """
    truth, decided = np.asarray(reference, dtype=bool), np.asarray(decision, dtype=bool)
    scores = np.asarray(probabilities, dtype=np.float64)
    shape = (len(truth), len(classes))
    truth, decided, scores = truth.reshape(shape), decided.reshape(shape), scores.reshape(shape)
    per_class = {
        name: one_against_rest(truth[:, index], decided[:, index], scores[:, index])
        for index, name in enumerate(classes)
    }
    support = {name: int(np.count_nonzero(truth[:, index])) for index, name in enumerate(classes)}
    values, reasons = _averages(per_class, (*SHARED_METRICS, *CLASS_METRICS, "brier", "log_loss", *CLASS_ECES))
    if not len(truth):
        reasons["subset_accuracy"] = "no_cases"
    return with_reasons(
        {
            "n": len(truth),
            "averaging": "macro",
            "positive_class": None,
            **values,
            "subset_accuracy": float((truth == decided).all(axis=1).mean()) if len(truth) else None,
            "averages": _both_averages(per_class, support),
            "support": support,
            "per_class": per_class,
        },
        reasons | {"positive_class": "averaged_over_classes"},
    )


def _both_averages(per_class: Mapping[str, Mapping[str, Any]], support: Mapping[str, int]) -> dict[str, Any]:
    """Return the mean over the classes, plain ("macro") and weighted by their number of cases ("weighted")."""
    plain, plain_reasons = _averages(per_class, CLASS_METRICS)
    weighted, weighted_reasons = _averages(per_class, CLASS_METRICS, support)
    return {"macro": with_reasons(plain, plain_reasons), "weighted": with_reasons(weighted, weighted_reasons)}


def _averages(
    per_class: Mapping[str, Mapping[str, Any]], names: Sequence[str], weights: Mapping[str, int] | None = None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the mean of each metric over the classes in which it is defined, and why there is none."""
    values: dict[str, float | None] = {}
    reasons = {}
    for name in names:
        defined = [
            (scores[name], 1 if weights is None else weights[label])
            for label, scores in per_class.items()
            if scores[name] is not None
        ]
        total = sum(weight for _, weight in defined)
        values[name] = math.fsum(value * weight for value, weight in defined) / total if total else None
        if not total:
            found = next(iter(per_class.values())).get("reasons", {})
            reasons[name] = found.get(name, "no_positive_reference")
    return values, reasons
