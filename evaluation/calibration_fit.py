"""Fitting temperatures and thresholds on out-of-fold predictions, and saying honestly what they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.binary_metrics import decision_metrics
from nnunet_multitask.evaluation.class_intervals import decision_intervals
from nnunet_multitask.evaluation.delong import delong_interval
from nnunet_multitask.evaluation.intervals import SEED
from nnunet_multitask.evaluation.out_of_fold import TargetTable
from nnunet_multitask.evaluation.probability_metrics import (
    EQUAL_MASS_ECE,
    EQUAL_WIDTH_ECE,
    class_probability_metrics,
    multiclass_probability_metrics,
)
from nnunet_multitask.evaluation.temperature import fit_temperature, scale_exclusive, scale_independent
from nnunet_multitask.evaluation.thresholds import Rule, choose_threshold

MIN_CASES = 10  # of a class and without it: ten events for each fitted number, the temperature or the threshold
DRAWN_FOLDS = 5
QUALITY = ("brier", "log_loss", EQUAL_WIDTH_ECE, EQUAL_MASS_ECE)
POINT_METRICS = ("recall", "specificity", "precision", "npv", "f1", "balanced_accuracy")


@dataclass(frozen=True)
class Question:
    """One yes or no that has a threshold: a class of a multilabel target, or the second of two exclusive classes."""

    name: str
    index: int


def questions(table: TargetTable) -> list[Question]:
    """Return what has a threshold; nothing where three or more classes exclude each other."""
    classes = table.target.classes
    if table.target.type == "multilabel":
        return [Question(name, index) for index, name in enumerate(classes)]
    return [Question(classes[1], 1)] if len(classes) == 2 else []


def case_faults(table: TargetTable, rules: Sequence[Rule], where: str) -> dict[str, InputError]:
    """Return by class why there are too few cases to calibrate it.

    At least 10 cases must have the class and 10 must not; a rule that asks for a sensitivity of s needs 1 / (1 - s)
    cases with the class, so that one of them may be missed, and one for a specificity as many without it.

    Args:
        table: the known cases.
        rules: of the thresholds.
        where: for messages.
    """
    asked = {question.name for question in questions(table)}
    faults = {}
    for index, name in enumerate(table.target.classes):
        needs = [rule.needed() for rule in rules] if name in asked else []
        needed = [max([MIN_CASES, *(need[side] for need in needs)]) for side in (0, 1)]
        present = int(np.count_nonzero(table.truth[:, index]))
        found = [present, len(table.truth) - present]
        if table.target.type != "multilabel" and len(table.target.classes) == 2 and name not in asked:
            continue  # the other class says the same
        if found[0] < needed[0] or found[1] < needed[1]:
            faults[name] = InputError(
                "too-few-cases",
                f"{where}: target {table.target.name}, class {name}",
                f"expected at least {needed[0]} cases with {name} and {needed[1]} without it, got {found[0]} and "
                f"{found[1]}",
                "label and predict more cases, ask for a lower sensitivity or specificity, or leave what is too rare "
                "uncalibrated with --leave-out-rare",
            )
    return faults


def fit_target(table: TargetTable, rules: Sequence[Rule], left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Fit one target.

    Args:
        table: its known cases.
        rules: of the thresholds.
        left_out: classes of a multilabel target that stay uncalibrated (temperature 1, no threshold).

    Returns:
        The entry of calibration.json. "before" and "after" score probabilities, "after" of each fold by what was
        fitted on the other folds; "after_in_sample" by what was fitted on the very same cases. Each operating point
        stands there both ways, too.
    """
    groups, how = left_out_parts(table)
    whole = _fit(table, rules, left_out)
    parts = [(groups == group, _fit(_part(table, groups != group), rules, left_out)) for group in np.unique(groups)]
    honest = np.full_like(table.probabilities, np.nan)
    for inside, fitted in parts:
        honest[inside] = fitted.scale(table.probabilities[inside])
    in_sample = whole.scale(table.probabilities)
    kept = [index for index, name in enumerate(table.target.classes) if name not in left_out]
    points: dict[str, dict[str, Any]] = {}
    asked = [question for question in questions(table) if question.name not in left_out]
    for question in asked:
        column = table.truth[:, question.index], in_sample[:, question.index], honest[:, question.index]
        for rule in rules:
            key = rule.name, question.name
            if key in whole.thresholds:
                limits = [(inside, fitted.thresholds.get(key)) for inside, fitted in parts]
                point = _operating_point(table, *column, whole.thresholds[key], limits, how)
                points.setdefault(rule.name, {})[question.name] = point
    by_class = table.target.type == "multilabel"
    return {
        "type": table.target.type,
        "classes": list(table.target.classes),
        "n": len(table.truth),
        "missing_labels": table.missing_labels,
        "support": {name: int(table.truth[:, i].sum()) for i, name in enumerate(table.target.classes)},
        "temperature": dict(zip(table.target.classes, whole.temperatures, strict=True))
        if by_class
        else whole.temperatures[0],
        "thresholds": {
            rule: next(iter(of_class.values()))["threshold"]
            if not by_class
            else {name: point["threshold"] for name, point in of_class.items()}
            for rule, of_class in points.items()
        },
        "left_out": list(left_out),
        "evaluation": how,
        "before": _quality(table, table.probabilities, kept),
        "after": _quality(table, honest, kept),
        "after_in_sample": _quality(table, in_sample, kept),
        "operating_points": points,
        **({"reasons": whole.reasons} if whole.reasons else {}),
        "warnings": [text for question in asked for text in _doubts(table, question, in_sample, whole.thresholds)],
    }


def _doubts(
    table: TargetTable,
    question: Question,
    in_sample: NDArray[np.float64],
    thresholds: Mapping[tuple[str, str], float],
) -> Iterator[str]:
    """Yield what makes the thresholds of a class worthless: an AUC that may be chance, a threshold that parts nothing.

    DeLong's interval takes cases for independent; where a patient has several it is too narrow and warns too seldom.
    """
    truth, score = table.truth[:, question.index], table.probabilities[:, question.index]
    if truth.any() and not truth.all():
        auc, interval = float(roc_auc_score(truth, score)), delong_interval(truth, score)
        if auc <= 0.5 or (interval.low is not None and interval.low <= 0.5):
            ends = "" if interval.low is None else f", 95 % interval {interval.low:.3f} to {interval.high:.3f}"
            yield f"no-better-than-chance: {question.name}: AUC {auc:.3f}{ends}: no threshold of it is of use"
    for (rule, name), threshold in thresholds.items():
        called = in_sample[:, question.index] >= threshold
        if name == question.name and (called.all() or not called.any()):
            what = "every case" if called.all() else "no case"
            yield f"useless-threshold: {name}: {rule} (from {threshold:.4f} on) calls {what} positive"


@dataclass(frozen=True)
class _Fitted:
    exclusive: bool
    temperatures: list[float]
    thresholds: dict[tuple[str, str], float]  # by rule and class
    reasons: dict[str, str]

    def scale(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, C)."""
        if self.exclusive:
            return scale_exclusive(probabilities, self.temperatures[0])
        columns = [scale_independent(probabilities[:, i], t) for i, t in enumerate(self.temperatures)]
        return np.stack(columns, axis=1)


def _fit(table: TargetTable, rules: Sequence[Rule], left_out: Sequence[str]) -> _Fitted:
    classes, reasons = table.target.classes, {}
    exclusive = table.target.type != "multilabel"
    temperatures = []
    if exclusive:
        temperature, why = fit_temperature(table.truth.argmax(axis=1), table.probabilities)
        temperatures = [temperature] * len(classes)
        if why is not None:
            reasons["temperature"] = why
    else:
        for index, name in enumerate(classes):
            p = table.probabilities[:, index]
            temperature, why = 1.0, "left_out"
            if name not in left_out:
                pair = np.stack([1 - p, p], axis=1)
                temperature, why = fit_temperature(table.truth[:, index].astype(int), pair)
            temperatures.append(temperature)
            if why is not None:
                reasons[f"temperature/{name}"] = why
    fitted = _Fitted(exclusive, temperatures, {}, reasons)
    scaled = fitted.scale(table.probabilities)
    for question in questions(table):
        for rule in rules if question.name not in left_out else ():
            column = table.truth[:, question.index], scaled[:, question.index]
            threshold, why = choose_threshold(rule, *column, table.folds)
            if threshold is not None:
                fitted.thresholds[rule.name, question.name] = threshold
            elif why is not None:
                reasons[f"thresholds/{rule.name}/{question.name}"] = why
    if not questions(table):
        reasons["thresholds"] = "the_most_probable_of_several_exclusive_classes_is_decided"
    return fitted


def left_out_parts(table: TargetTable) -> tuple[NDArray[Any], str]:
    """Return the part of each case that is fitted without it: its fold, or one of five drawn by class and patient."""
    if table.folds is not None and len(set(map(str, table.folds))) > 1:
        return np.array([str(fold) for fold in table.folds]), "leave_fold_out"
    patients = list(dict.fromkeys(table.patients))
    place = {patient: index for index, patient in enumerate(patients)}
    of_case = np.array([place[patient] for patient in table.patients])
    has = np.array([table.truth[of_case == index].any(axis=0) for index in range(len(patients))])
    shuffled = np.random.default_rng(SEED).permutation(len(patients))
    order = sorted(shuffled, key=lambda index: tuple(has[index]))
    group = np.empty(len(patients), dtype=int)
    group[order] = np.arange(len(patients)) % DRAWN_FOLDS
    return group[of_case], f"cross_fitted_{DRAWN_FOLDS}_by_patient"


def _part(table: TargetTable, inside: NDArray[np.bool_]) -> TargetTable:
    def chosen(values: Sequence[Any]) -> list[Any]:
        return [value for value, keep in zip(values, inside, strict=True) if keep]

    return TargetTable(
        table.target,
        chosen(table.case_ids),
        chosen(table.patients),
        None if table.folds is None else chosen(table.folds),
        table.probabilities[inside],
        table.truth[inside],
        table.missing_labels,
    )


def _quality(table: TargetTable, probabilities: NDArray[np.float64], kept: Sequence[int]) -> dict[str, Any]:
    """Score (N, C) probabilities: of exclusive classes all together, and each class against the rest."""
    per_class: dict[str, Any] = {}
    for index in kept:
        values, reasons = class_probability_metrics(table.truth[:, index], probabilities[:, index])
        per_class[table.target.classes[index]] = values | ({"reasons": reasons} if reasons else {})
    if table.target.type == "multilabel":
        means = {name: float(np.mean([scores[name] for scores in per_class.values()])) for name in QUALITY}
        return {**means, "per_class": per_class}
    values, reasons = multiclass_probability_metrics(table.truth.argmax(axis=1), probabilities)
    shown = list(per_class.values())[1:] if len(per_class) == 2 else list(per_class.values())
    means = {name: float(np.mean([scores[name] for scores in shown])) for name in QUALITY[2:]}
    return {**values, **means, "per_class": per_class, **({"reasons": reasons} if reasons else {})}


def _operating_point(
    table: TargetTable,
    truth: NDArray[np.bool_],
    in_sample: NDArray[np.float64],
    honest: NDArray[np.float64],
    threshold: float,
    limits: Sequence[tuple[NDArray[np.bool_], float | None]],
    how: str,
) -> dict[str, Any]:
    """Score a threshold on the cases it was fitted on, and (N,) cases each by the threshold of the other folds."""
    point = {"threshold": threshold, "in_sample": _at(table, truth, in_sample >= threshold)}
    decided = np.zeros(len(truth), dtype=bool)
    for inside, limit in limits:
        if limit is None:
            return point | {how: None, "reason": "no_threshold_without_one_of_the_folds"}
        decided[inside] = honest[inside] >= limit
    return point | {how: _at(table, truth, decided)}


def _at(table: TargetTable, truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> dict[str, Any]:
    """Score the decisions (N,) at an operating point."""
    scores = decision_metrics(truth, decided)
    place = {patient: index for index, patient in enumerate(dict.fromkeys(table.patients))}
    intervals = decision_intervals(truth, decided, np.array([place[patient] for patient in table.patients]))
    reasons = {name: reason for name, reason in scores.get("reasons", {}).items() if name in POINT_METRICS}
    return {
        **{name: scores[name] for name in POINT_METRICS},
        "confusion_matrix": scores["confusion_matrix"],
        "intervals": {name: intervals[name] for name in POINT_METRICS},
        **({"reasons": reasons} if reasons else {}),
    }
