"""Scores of predicted classes against reference labels. scikit-learn does the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.labels import Label, LabelSidecar, Target

DEFINITIONS = {
    "accuracy": "share of cases with the right class; of a multilabel target the mean over its classes",
    "balanced_accuracy": "mean of the recall of every class; of one class against the rest: mean of recall and "
    "specificity",
    "precision": "TP / (TP + FP) (positive predictive value)",
    "recall": "TP / (TP + FN) (sensitivity)",
    "specificity": "TN / (TN + FP)",
    "f1": "2 TP / (2 TP + FP + FN)",
    "mcc": "Matthews correlation coefficient; 0 where every case gets the same decision",
    "kappa": "Cohen's kappa, unweighted",
    "auc": "area under the ROC curve of the predicted probability",
    "averaging": "binary and two-class multiclass targets: precision, recall, specificity, F1 and AUC are those of the "
    "second class as the positive one; otherwise the mean over the classes in which they are defined, one class "
    "against the rest (macro)",
    "confusion_matrix": "rows: reference, columns: decision, in the order of the classes",
    "roc": "points (fpr, tpr) by falling threshold; the first threshold is null: no case is called positive",
}
# what is averaged over classes, one against the rest
CLASS_METRICS = ("precision", "recall", "specificity", "f1", "auc")
SHARED_METRICS = ("accuracy", "balanced_accuracy", "mcc", "kappa")


def score_cases(predicted: Classification, sidecar: LabelSidecar, case_ids: Sequence[str]) -> dict[str, Any]:
    """Score every target that the model predicts and the sidecar knows.

    Args:
        predicted: the model's classification.json.
        sidecar: the reference labels.
        case_ids: the cases that are scored; those without a label are left out and counted.

    Returns:
        Scores by target name, each with "cases": reference, decision and probabilities by case id.

    Raises:
        InputErrors: a target with other classes than the sidecar's, no common target, or a labelled case without a
            prediction (it could only be dropped silently).
    """
    shared = [name for name in predicted.targets if name in sidecar.targets]
    if not shared:
        raise InputError(
            "no-common-target",
            predicted.path,
            f"expected one of the targets {', '.join(sidecar.targets)}, got {', '.join(predicted.targets) or 'none'}",
            "score it with the sidecar of the dataset that the model was trained on",
        )
    errors: list[InputError] = []
    scores = {}
    for name in shared:
        target = sidecar.targets[name]
        labels = {
            case_id: sidecar.cases[case_id].labels[name]
            for case_id in case_ids
            if case_id in sidecar.cases and name in sidecar.cases[case_id].labels
        }
        found = {
            case_id: predicted.cases[case_id][name] for case_id in labels if name in predicted.cases.get(case_id, {})
        }
        errors.extend(_target_faults(predicted, target, sorted(set(labels) - set(found))))
        if not errors:
            scores[name] = {
                **_score_target(target, list(labels.values()), [found[case_id] for case_id in labels]),
                "missing_labels": len(case_ids) - len(labels),
                "cases": {
                    case_id: {
                        "reference": _jsonable(label),
                        "decision": _jsonable(found[case_id].decision),
                        "probabilities": dict(found[case_id].probabilities),
                    }
                    for case_id, label in labels.items()
                },
            }
    if errors:
        raise InputErrors(errors)
    return scores


def multiclass_metrics(
    reference: ArrayLike, decision: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """Score decisions for one of C classes; a binary target is the case C = 2.

    Args:
        reference: (N,) class indices.
        decision: (N,) class indices.
        probabilities: (N, C), 0 to 1.
        classes: C names. Of two classes the second is the positive one.

    Returns:
        The metrics of `DEFINITIONS`, "support" and the same one against the rest under "per_class". What is not
        defined is null, with its reason under "reasons": "no_cases", "one_class" (the reference knows one class
        only), "no_positive_decision", "no_positive_reference", "constant".
    """
    truth, decided = np.asarray(reference, dtype=int), np.asarray(decision, dtype=int)
    scores = np.asarray(probabilities, dtype=np.float64).reshape(len(truth), len(classes))
    indices = list(range(len(classes)))
    per_class = {
        name: _one_against_rest(truth == index, decided == index, scores[:, index])
        for index, name in enumerate(classes)
    }
    values, reasons = _shared_metrics(truth, decided)
    if len(classes) == 2:
        positive = per_class[classes[1]]
        values |= {name: positive[name] for name in CLASS_METRICS}
        reasons |= {name: reason for name, reason in positive.get("reasons", {}).items() if name in CLASS_METRICS}
    else:
        averages, average_reasons = _averages(per_class, CLASS_METRICS)
        values |= averages
        reasons |= average_reasons
    return _with_reasons(
        {
            "n": len(truth),
            "averaging": f"positive class: {classes[1]}" if len(classes) == 2 else "macro",
            "positive_class": classes[1] if len(classes) == 2 else None,
            **values,
            "support": {name: int(np.count_nonzero(truth == index)) for index, name in enumerate(classes)},
            "confusion_matrix": metrics.confusion_matrix(truth, decided, labels=indices).tolist()
            if len(truth)
            else [[0] * len(classes) for _ in classes],
            "per_class": per_class,
        },
        reasons | ({"positive_class": "averaged_over_classes"} if len(classes) > 2 else {}),
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
        name: _one_against_rest(truth[:, index], decided[:, index], scores[:, index])
        for index, name in enumerate(classes)
    }
    values, reasons = _averages(per_class, SHARED_METRICS + CLASS_METRICS)
    if not len(truth):
        reasons["subset_accuracy"] = "no_cases"
    reasons["positive_class"] = "averaged_over_classes"
    return _with_reasons(
        {
            "n": len(truth),
            "averaging": "macro",
            "positive_class": None,
            **values,
            "subset_accuracy": float((truth == decided).all(axis=1).mean()) if len(truth) else None,
            "support": {name: int(np.count_nonzero(truth[:, index])) for index, name in enumerate(classes)},
            "per_class": per_class,
        },
        reasons,
    )


def _score_target(target: Target, labels: Sequence[Label], predictions: Sequence[Prediction]) -> dict[str, Any]:
    reference = np.array([target.encode(label) for label in labels], dtype=int)
    decision = np.array([target.encode(prediction.decision) for prediction in predictions], dtype=int)
    probabilities = [[prediction.probabilities[name] for name in target.classes] for prediction in predictions]
    head = {"type": target.type, "classes": list(target.classes)}
    if target.type == "multilabel":
        return {**head, **multilabel_metrics(reference, decision, probabilities, target.classes)}
    return {**head, **multiclass_metrics(reference.ravel(), decision.ravel(), probabilities, target.classes)}


def _target_faults(predicted: Classification, target: Target, without_prediction: list[str]) -> list[InputError]:
    theirs = predicted.targets[target.name]
    if (theirs.type, set(theirs.classes)) != (target.type, set(target.classes)):
        return [
            InputError(
                "classes-differ",
                f"{predicted.path}: target {target.name}",
                f"expected {target.type} {', '.join(target.classes)} as in the sidecar, "
                f"got {theirs.type} {', '.join(theirs.classes)}",
                "score the model with the sidecar of the dataset it was trained on",
            )
        ]
    if without_prediction:
        shown = ", ".join(without_prediction[:10]) + (", ..." if len(without_prediction) > 10 else "")
        return [
            InputError(
                "missing-classification",
                f"{predicted.path}: target {target.name}",
                f"expected a prediction of every labelled case, got none of {len(without_prediction)}: {shown}",
                "predict these cases too: leaving them out would change the score silently",
            )
        ]
    return []


def _one_against_rest(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], score: NDArray[np.float64]
) -> dict[str, Any]:
    """All metrics of one class: truth, decided (N,) bool, score (N,) its probability."""
    values, reasons = _shared_metrics(truth, decided)
    # undefined ratios come back as NaN
    values["precision"] = _number(metrics.precision_score, truth, decided)
    values["recall"] = _number(metrics.recall_score, truth, decided)
    values["specificity"] = _number(metrics.recall_score, ~truth, ~decided)
    values["f1"] = _number(metrics.f1_score, truth, decided)
    for name, reason in (
        ("precision", "no_positive_decision"),
        ("recall", "no_positive_reference"),
        ("specificity", "no_negative_reference"),
        ("f1", "no_positive_reference_or_decision"),
    ):
        if values[name] is None:
            reasons[name] = reason if len(truth) else "no_cases"
    roc: dict[str, list[float | None]] | None = None
    if truth.any() and not truth.all():
        values["auc"] = float(metrics.roc_auc_score(truth, score))
        fpr, tpr, thresholds = metrics.roc_curve(truth, score)
        roc = {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "thresholds": [None, *thresholds[1:].tolist()]}
    else:
        values["auc"] = None
        reasons["auc"] = reasons["roc"] = "one_class" if len(truth) else "no_cases"
    matrix = metrics.confusion_matrix(truth, decided, labels=[False, True]).tolist() if len(truth) else [[0, 0], [0, 0]]
    return _with_reasons({**values, "confusion_matrix": matrix, "roc": roc}, reasons)


def _shared_metrics(truth: NDArray[Any], decided: NDArray[Any]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Metrics that need no positive class."""
    if not len(truth):
        return dict.fromkeys(SHARED_METRICS), dict.fromkeys(SHARED_METRICS, "no_cases")
    values: dict[str, float | None] = {"accuracy": float(metrics.accuracy_score(truth, decided))}
    if len(np.unique(truth)) < 2:
        undefined = ("balanced_accuracy", "mcc", "kappa")
        return values | dict.fromkeys(undefined), dict.fromkeys(undefined, "one_class")
    # the mean recall of the classes that occur: those without a case have no recall
    values["balanced_accuracy"] = float(
        metrics.recall_score(truth, decided, labels=np.unique(truth), average="macro", zero_division=0)
    )
    values["mcc"] = float(metrics.matthews_corrcoef(truth, decided))
    values["kappa"] = float(metrics.cohen_kappa_score(truth, decided))
    return values, {}


def _averages(
    per_class: dict[str, dict[str, Any]], names: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Mean of each metric over the classes in which it is defined."""
    values: dict[str, float | None] = {}
    reasons = {}
    for name in names:
        defined = [scores[name] for scores in per_class.values() if scores[name] is not None]
        values[name] = math.fsum(defined) / len(defined) if defined else None
        if not defined:
            reasons[name] = next(iter(per_class.values()))["reasons"][name]
    return values, reasons


def _number(function: Any, truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> float | None:
    if not len(truth):
        return None
    value = float(function(truth, decided, zero_division=np.nan))
    return value if math.isfinite(value) else None


def _with_reasons(document: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    return {**document, "reasons": reasons} if reasons else document


def _jsonable(label: Label) -> str | list[str]:
    return label if isinstance(label, str) else list(label)
