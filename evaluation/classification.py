"""Scores of predicted classes against reference labels: of scans, and where it is known of slices and patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.class_intervals import (
    binary_intervals,
    multiclass_intervals,
    multilabel_intervals,
    roc_band,
)
from nnunet_multitask.evaluation.class_metrics import multiclass_metrics, multilabel_metrics
from nnunet_multitask.evaluation.intervals import RESAMPLES
from nnunet_multitask.evaluation.levels import LEVEL_TEXTS, Item, Rule, patient_items, patient_of, slice_items
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Label, Target

DEFINITIONS = {
    "accuracy": "share of cases with the right class; of a multilabel target the mean over its classes",
    "subset_accuracy": "of a multilabel target the share of cases with every class right",
    "balanced_accuracy": "mean of the recall of every class; of one class against the rest: mean of recall and "
    "specificity",
    "precision": "TP / (TP + FP) (positive predictive value)",
    "recall": "TP / (TP + FN) (sensitivity)",
    "specificity": "TN / (TN + FP)",
    "npv": "TN / (TN + FN) (negative predictive value)",
    "f1": "2 TP / (2 TP + FP + FN)",
    "mcc": "Matthews correlation coefficient; 0 where every case gets the same decision",
    "kappa": "Cohen's kappa, unweighted",
    "auc": "area under the ROC curve of the predicted probability; ties count half",
    "average_precision": "sum over falling thresholds of precision times the gain in recall, without interpolation",
    "brier": "mean squared difference of probability and truth: of two classes that of the second (0 to 1), of more "
    "the sum over the classes (0 to 2), of a multilabel target the mean over the classes (0 to 1)",
    "log_loss": "mean of -ln of the probability of what is true, probabilities cut at 5e-7; of a multilabel target the "
    "mean over the classes",
    "ece_15_equal_width_top_label": "expected calibration error of the most probable class: mean over the cases of "
    "|mean probability - share that is right| of their bin, 15 bins of equal width (Guo et al. 2017)",
    "ece_10_equal_width": "expected calibration error of the probability of a class: mean over the cases of |mean "
    "probability - share that has the class| of their bin, 10 bins of equal width; of several classes the mean",
    "ece_10_equal_mass": "the same with 10 bins between the deciles of the probabilities; equal values share a bin",
    "reliability": "points of the reliability curve with these 10 bins: mean probability, share that has the class, n",
    "sensitivity_at_specificity": "highest sensitivity of a threshold whose specificity is at least the given one; the "
    "threshold is chosen on the same cases, which is optimistic: see calibrate for thresholds to use",
    "specificity_at_sensitivity": "highest specificity of a threshold whose sensitivity is at least the given one; the "
    "threshold is chosen on the same cases",
    "averaging": "binary and two-class multiclass targets: precision, recall, specificity, NPV, F1, AUC and average "
    "precision are those of the second class as the positive one; otherwise the mean over the classes in which they "
    "are defined, one class against the rest (macro)",
    "averages": "mean over the classes, one against the rest: macro, each class alike; weighted, by its cases",
    "confusion_matrix": "rows: reference, columns: decision, in the order of the classes",
    "roc": "points (fpr, tpr) by falling threshold; the first threshold is null: no case is called positive; band: "
    "pointwise 95 % percentiles of the sensitivity in bootstrap samples of patients",
    "intervals": "95 %. wilson: score interval of a proportion; delong_logit: DeLong's variance of the AUC, normal on "
    f"the logit scale; bca_{RESAMPLES}: bias-corrected and accelerated bootstrap with so many resamples and a fixed "
    "seed. Where a patient has several cases, all are bca of whole patients (by_patient)",
    **{f"level {name}": text for name, text in LEVEL_TEXTS.items()},
}
SLICE_RULES: tuple[Rule, ...] = ("any", "mean")


def score_cases(
    predicted: Classification, sidecar: LabelSidecar, case_ids: Sequence[str], *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Score every target that the model predicts and the sidecar knows.

    Args:
        predicted: the model's classification.json.
        sidecar: the reference labels of cases and slices, and the patient of each case.
        case_ids: the cases that are scored; those without a label are left out and counted.
        resamples: of the bootstrap behind the intervals.

    Returns:
        Scores by target name, each with "cases": patient, reference, decision and probabilities by case id; "levels":
        the scores of slices and patients by the name of the level; "absent_levels": why a level is not there.

    Raises:
        InputErrors: a target with other classes than the sidecar's, no common target, a labelled case without a
            prediction (it could only be dropped silently), or as many slices as the labels are not.
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
        found = {
            case_id: predicted.cases[case_id][name] for case_id in case_ids if name in predicted.cases.get(case_id, {})
        }
        faults = list(_target_faults(predicted, target, sidecar, case_ids, found))
        errors.extend(faults)
        if not faults:
            scans = [_scan(target, sidecar, case_id, prediction) for case_id, prediction in found.items()]
            labelled = [scan for scan in scans if scan.reference is not None]
            levels, absent = _levels(target, sidecar, scans, found)
            scores[name] = {
                **score_items(target, labelled, resamples=resamples),
                "missing_labels": len(case_ids) - len(labelled),
                "cases": _listed(labelled),
                "levels": {
                    level: {
                        "definition": LEVEL_TEXTS[level],
                        **score_items(target, items, resamples=resamples),
                        "left_out": left_out,
                        **({} if level == "slice" else {"cases": _listed(items)}),
                    }
                    for level, (items, left_out) in levels.items()
                },
                "absent_levels": absent,
            }
    if errors:
        raise InputErrors(errors)
    return scores


def score_items(target: Target, items: Sequence[Item], *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return every score of decisions and probabilities, with intervals; see `DEFINITIONS`.

    Args:
        target: which classes there are.
        items: with a known reference; none gives null with the reason "no_cases".
        resamples: of the bootstrap.
    """
    reference = np.array([target.encode(item.reference) for item in items if item.reference is not None], dtype=int)
    decision = np.array([target.encode(item.decision) for item in items], dtype=int)
    shape = (len(items), len(target.classes))
    probabilities = np.array(
        [[item.probabilities[name] for name in target.classes] for item in items], dtype=np.float64
    ).reshape(shape)
    patients = {patient: index for index, patient in enumerate(dict.fromkeys(item.patient for item in items))}
    units = np.array([patients[item.patient] for item in items], dtype=int)
    head = {"type": target.type, "classes": list(target.classes), "patients": len(patients)}
    if target.type == "multilabel":
        truth, decided = reference.reshape(shape) == 1, decision.reshape(shape) == 1
        score = multilabel_metrics(truth, decided, probabilities, target.classes)
        score["intervals"] = multilabel_intervals(truth, decided, probabilities, units, resamples=resamples)
    else:
        score = multiclass_metrics(reference.ravel(), decision.ravel(), probabilities, target.classes)
        score["intervals"] = multiclass_intervals(
            reference.ravel(), decision.ravel(), probabilities, units, resamples=resamples
        )
        truth = reference.reshape(-1, 1) == np.arange(len(target.classes))
        decided = decision.reshape(-1, 1) == np.arange(len(target.classes))
    for index, name in enumerate(target.classes):
        columns = truth[:, index], decided[:, index], probabilities[:, index]
        entry = score["per_class"][name]
        entry["intervals"] = binary_intervals(*columns, units, resamples=resamples)
        if entry["roc"] is not None:
            entry["roc"]["band"] = roc_band(columns[0], columns[2], units, resamples=resamples)
    return {**head, **score}


def _levels(
    target: Target, sidecar: LabelSidecar, scans: Sequence[Item], found: Mapping[str, Prediction]
) -> tuple[dict[str, tuple[list[Item], dict[str, int]]], dict[str, str]]:
    """Return the items of each level, with how many were left out, and by level the reason why it is not there."""
    levels: dict[str, tuple[list[Item], dict[str, int]]] = {}
    absent: dict[str, str] = {}
    labels = {case_id: sidecar.cases.get(case_id, Case()).slices.get(target.name, ()) for case_id in found}
    slices = [
        item
        for case_id, prediction in found.items()
        if prediction.slices and labels[case_id]
        for item in slice_items(target, case_id, patient_of(sidecar, case_id), prediction, labels[case_id])
    ]
    if slices:
        known = [item for item in slices if item.reference is not None]
        levels["slice"] = known, {"unknown": len(slices) - len(known)}
    else:
        without = "labels" if any(prediction.slices for prediction in found.values()) else "probabilities"
        absent["slice"] = f"no_slice_{without}"
    several = len({scan.patient for scan in scans}) < len(scans)
    for part, parts, reason in (
        ("scan", scans, None if several else "one_scan_per_patient"),
        ("slice", slices, absent.get("slice")),
    ):
        for rule in SLICE_RULES:
            level = f"patient_{rule}_{part}"
            if reason is not None:
                absent[level] = reason
            elif rule == "any" and target.type == "multiclass":
                absent[level] = "no_positive_class"
            else:
                levels[level] = patient_items(target, parts, rule)
    return levels, absent


def _scan(target: Target, sidecar: LabelSidecar, case_id: str, prediction: Prediction) -> Item:
    reference = sidecar.cases.get(case_id, Case()).labels.get(target.name)
    patient = patient_of(sidecar, case_id)
    return Item(case_id, patient, reference, prediction.probabilities, prediction.decision, prediction.thresholds)


def _listed(items: Iterable[Item]) -> dict[str, Any]:
    return {
        item.name: {
            "patient": item.patient,
            "reference": None if item.reference is None else _jsonable(item.reference),
            "decision": _jsonable(item.decision),
            "probabilities": dict(item.probabilities),
        }
        for item in items
    }


def _target_faults(
    predicted: Classification,
    target: Target,
    sidecar: LabelSidecar,
    case_ids: Sequence[str],
    found: Mapping[str, Prediction],
) -> Iterable[InputError]:
    theirs = predicted.targets[target.name]
    where = f"{predicted.path}: target {target.name}"
    if (theirs.type, set(theirs.classes)) != (target.type, set(target.classes)):
        yield InputError(
            "classes-differ",
            where,
            f"expected {target.type} {', '.join(target.classes)} as in the sidecar, "
            f"got {theirs.type} {', '.join(theirs.classes)}",
            "score the model with the sidecar of the dataset it was trained on",
        )
        return
    known = {case_id: sidecar.cases.get(case_id, Case()) for case_id in case_ids}
    slice_labels = {case_id: case.slices.get(target.name, ()) for case_id, case in known.items()}
    absent = sorted(case_id for case_id, case in known.items() if target.name in case.labels and case_id not in found)
    if absent:
        yield _missing(where, "a prediction of every labelled case", absent)
    if any(prediction.slices for prediction in found.values()):
        absent = sorted(case_id for case_id, p in found.items() if slice_labels[case_id] and not p.slices)
        if absent:
            yield _missing(where, "slices of every case with labelled slices", absent)
    for case_id, prediction in found.items():
        labels = slice_labels[case_id]
        if labels and prediction.slices and len(labels) != len(prediction.slices):
            yield InputError(
                "slice-count-differs",
                f"{predicted.path}: case {case_id}, target {target.name}",
                f"expected the {len(labels)} slices of the sidecar, got {len(prediction.slices)}",
                "predict every slice of the image, in array order; null where there is no prediction",
            )


def _missing(where: str, expected: str, case_ids: Sequence[str]) -> InputError:
    shown = ", ".join(case_ids[:10]) + (", ..." if len(case_ids) > 10 else "")
    return InputError(
        "missing-classification",
        where,
        f"expected {expected}, got none of {len(case_ids)}: {shown}",
        "predict these cases too: leaving them out would change the score silently",
    )


def _jsonable(label: Label) -> str | list[str]:
    return label if isinstance(label, str) else list(label)
