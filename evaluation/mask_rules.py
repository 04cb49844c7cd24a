"""The class that the mask alone tells, by named rules: what a classification head has to beat to earn its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.aggregation import CaseScores
from nnunet_multitask.evaluation.binary_metrics import decision_metrics, ranking_metrics, shared_metrics, with_reasons
from nnunet_multitask.evaluation.class_intervals import decision_intervals
from nnunet_multitask.evaluation.delong import delong_interval, delong_test
from nnunet_multitask.evaluation.levels import patient_of
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.evaluation.thresholds import choose_threshold, parse_rule
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.targets import Label, Target

DEFINITIONS = {
    "any_voxel": "a class is present where the predicted mask has a voxel of its region",
    "volume": "score: predicted volume of the region of the class, in mL; decision: by the threshold and the direction "
    "(more or less) with the largest Youden index on the other folds; without folds there is a score only",
    "largest_component": "of exclusive classes the one whose region has the largest connected part; an empty mask "
    "counts as a wrong decision (undecided)",
    "maximum_probability": "score: largest probability of a voxel to belong to the region of the class, from the "
    "probabilities that nnU-Net keeps with --save_probabilities",
    "region of a class": "the region of its present_if_label, or that of its name; else for one of two exclusive "
    "classes all foreground",
    "direction": "whether more or less of the score speaks for the class; of two kinds told by all foreground the "
    "one that fits these cases better, in favour of the rule",
    "against_head": "AUC of the classification head minus AUC of the rule over the same cases, DeLong's test",
}
RULES = ("any_voxel", "volume", "largest_component", "maximum_probability")
SUMMARY = ("auc", "accuracy", "balanced_accuracy", "recall", "specificity", "f1", "mcc")


@dataclass(frozen=True)
class _Cases:
    """The labelled cases of a target: truth (N, C) bool, units (N,) the patient, folds (N,) or None."""

    target: Target
    ids: list[str]
    truth: NDArray[np.bool_]
    units: NDArray[np.integer]
    folds: list[int | str] | None


def regions_of_classes(target: Target, regions: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return by class the region of the mask that tells it; classes that none tells are absent.

    Args:
        target: type, classes and present_if_label.
        regions: name to mask values, as in evaluation.json under "labels".
    """
    found: dict[str, str] = {}
    for name in target.classes[1:] if target.type == "binary" else target.classes:
        values = target.present_if_label.get(name)
        for region, labels in regions.items():
            if region == name if values is None else set(labels) == set(values):
                found.setdefault(name, region)
    if not found and target.type != "multilabel" and len(target.classes) == 2:
        found[target.classes[1]] = FOREGROUND
    return found


def score_mask_rules(
    target: Target,
    sidecar: LabelSidecar,
    cases: CaseScores,
    regions: Mapping[str, Sequence[int]],
    *,
    folds: Mapping[str, int | str] | None = None,
    head: Mapping[str, Mapping[str, float]] | None = None,
    maxima: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Score every rule that a target allows.

    Args:
        target: as the sidecar declares it.
        sidecar: the true labels and the patient of each case.
        cases: scores of the predicted masks by case and region ("volume_ml", "largest_lesion_ml"), as in
            evaluation.json.
        regions: name to mask values.
        folds: by case; the thresholds of a fold's cases are then fitted on the other folds.
        head: probabilities of the classification head by case and class, to compare with.
        maxima: largest probability of a voxel by case and region.

    Returns:
        {"n", "missing_labels", "regions" by class, "rules", "absent_rules"}. Each rule has `SUMMARY` (of two exclusive
        classes those of the second, else the mean over the classes that the rule tells), "per_class" and intervals;
        what is not defined is null with a reason.
    """
    known = [c for c in cases if c in sidecar.cases and target.name in sidecar.cases[c].labels]
    present = [_classes_of(sidecar.cases[c].labels[target.name]) for c in known]
    truth = np.array([[name in classes for name in target.classes] for classes in present], dtype=bool)
    patients = {patient: i for i, patient in enumerate(dict.fromkeys(patient_of(sidecar, c) for c in known))}
    units = np.array([patients[patient_of(sidecar, c)] for c in known], dtype=int)
    in_fold = [folds[c] for c in known] if folds and all(c in folds for c in known) else None
    table = _Cases(target, known, truth.reshape(-1, len(target.classes)), units, in_fold)
    places = regions_of_classes(target, regions)
    rules: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for rule in RULES:
        reason = _absent(rule, target, places, table, maxima)
        if reason is not None:
            absent[rule] = reason
        elif rule == "largest_component":
            rules[rule] = _largest_component(table, cases, places)
        else:
            rules[rule] = _by_class(rule, table, cases, places, head, maxima)
    return {
        "n": len(known),
        "missing_labels": len(cases) - len(known),
        "regions": places,
        "rules": rules,
        "absent_rules": absent,
    }


def _classes_of(label: Label) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label


def _absent(
    rule: str, target: Target, places: Mapping[str, str], table: _Cases, maxima: Mapping[str, Any] | None
) -> str | None:
    """Return why a rule does not apply, or None where it does."""
    if not table.ids:
        return "no_cases"
    if rule == "largest_component":
        if target.type != "multiclass":
            return "classes_do_not_exclude_each_other" if target.type == "multilabel" else "one_region"
        return None if len(places) == len(target.classes) else "class_without_region"
    if not places:
        return "class_without_region"
    if rule == "any_voxel" and target.type == "multiclass":
        return "classes_exclude_each_other"
    return "no_probabilities" if rule == "maximum_probability" and maxima is None else None


def _by_class(
    rule: str,
    table: _Cases,
    cases: CaseScores,
    places: Mapping[str, str],
    head: Mapping[str, Mapping[str, float]] | None,
    maxima: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, Any]:
    """Score a rule that looks at each class by itself."""
    per_class = {}
    for name, region in places.items():
        truth = table.truth[:, table.target.classes.index(name)]
        volume_ml = np.array([cases[c][region]["volume_ml"] for c in table.ids], dtype=np.float64)
        if rule == "any_voxel":
            per_class[name] = _score(table, truth, None, volume_ml > 0)
            continue
        score = volume_ml if maxima is None or rule == "volume" else np.array([maxima[c][region] for c in table.ids])
        decided, thresholds = _out_of_fold(table, truth, score)
        # of two kinds nobody knows beforehand which is the larger; a finding means more of it
        falls = table.target.type == "multiclass" and region == FOREGROUND and _falls(truth, score)
        if falls:
            score = -score
        entry = {**_score(table, truth, score, decided), "direction": "less" if falls else "more"}
        if thresholds:
            entry["thresholds"] = thresholds
        entry["against_head"] = _against_head(table, name, truth, score, head)
        per_class[name] = entry
    return _summarised(table.target, per_class)


def _falls(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> bool:
    """Return whether the class goes with a smaller score: whether a case of it ranks below others more often."""
    pairs = np.sign(score[truth][:, None] - score[~truth][None, :])
    return bool(pairs.sum() < 0)


def _largest_component(table: _Cases, cases: CaseScores, places: Mapping[str, str]) -> dict[str, Any]:
    classes = table.target.classes
    sizes = np.array([[cases[c][places[name]]["largest_lesion_ml"] for name in classes] for c in table.ids])
    truth, decided = table.truth.argmax(axis=1), sizes.argmax(axis=1)
    empty = sizes.max(axis=1) == 0
    decided[empty] = (truth[empty] + 1) % len(classes)  # some other class than the true one
    per_class = {name: _score(table, truth == index, None, decided == index) for index, name in enumerate(classes)}
    values, reasons = shared_metrics(truth, decided)
    summary = _summarised(table.target, per_class)
    why = {name: reason for name, reason in summary.pop("reasons", {}).items() if name not in values} | reasons
    return with_reasons({**summary, **values, "undecided": int(np.count_nonzero(empty))}, why)


def _out_of_fold(
    table: _Cases, truth: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.bool_] | None, dict[str, Any]]:
    """Decide the cases of each fold by what separates those of the others best; None without folds.

    Returns:
        (N,) decisions, and by fold {"threshold", "positive": "above" or "below"}; a fold without a threshold decides
        for the more frequent answer.
    """
    if table.folds is None or len(set(map(str, table.folds))) < 2:
        return None, {}
    rising = score / (1 + score)  # the same order, between 0 and 1
    names = np.array([str(fold) for fold in table.folds])
    decided = np.zeros(len(truth), dtype=bool)
    used: dict[str, Any] = {}
    for fold in np.unique(names):
        inside, others = names == fold, names != fold
        best: tuple[float, float, bool] | None = None
        for below in (False, True):
            turned = 1 - rising if below else rising
            threshold, _ = choose_threshold(parse_rule("youden"), truth[others], turned[others])
            if threshold is not None:
                called = turned[others] >= threshold
                index = float(called[truth[others]].mean() - called[~truth[others]].mean())
                if best is None or index > best[0]:
                    best = index, threshold, below
        if best is None:
            decided[inside] = truth[others].mean() >= 0.5
            used[fold] = {"threshold": None, "positive": None}
        else:
            _, threshold, below = best
            decided[inside] = (1 - rising[inside] if below else rising[inside]) >= threshold
            limit = 1 - threshold if below else threshold
            used[fold] = {"threshold": limit / (1 - limit), "positive": "below" if below else "above"}
    return decided, used


def _score(
    table: _Cases, truth: NDArray[np.bool_], score: NDArray[np.float64] | None, decided: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Score (N,) scores and decisions of one class; what there is none of is null, with a reason."""
    found: dict[str, Any] = dict.fromkeys(SUMMARY)
    reasons: dict[str, str] = {}
    intervals: dict[str, Any] = {}
    if decided is not None:
        decisions = decision_metrics(truth, decided)
        reasons |= decisions.pop("reasons", {})
        found |= decisions
        intervals |= decision_intervals(truth, decided, table.units)
    else:
        reasons |= dict.fromkeys(SUMMARY[1:], "no_folds")
    if score is not None:
        ranking = ranking_metrics(truth, score)
        reasons |= {k: v for k, v in ranking.get("reasons", {}).items() if k in ("auc", "average_precision", "roc")}
        found |= {name: ranking[name] for name in ("auc", "average_precision", "roc")}
        if len(np.unique(table.units)) == len(table.units):
            intervals["auc"] = delong_interval(truth, score).to_json()
    else:
        reasons["auc"] = "decisions_only"
    return with_reasons({**found, "intervals": intervals}, reasons)


def _against_head(
    table: _Cases,
    name: str,
    truth: NDArray[np.bool_],
    score: NDArray[np.float64],
    head: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, Any] | None:
    """Compare the AUC of the head with that of a rule; None where there is no head."""
    if head is None or not all(case_id in head for case_id in table.ids):
        return None
    if len(np.unique(table.units)) < len(table.units):
        return {"difference": None, "p": None, "reason": "several_cases_of_a_patient"}
    return delong_test(truth, [head[case_id][name] for case_id in table.ids], score).to_json()


def _summarised(target: Target, per_class: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `SUMMARY` of a rule: of two exclusive classes that of the second, else the mean over the classes."""
    exclusive = target.type != "multilabel" and len(target.classes) == 2
    shown = [per_class[target.classes[1]]] if exclusive and target.classes[1] in per_class else list(per_class.values())
    values: dict[str, Any] = {}
    reasons = {}
    for name in SUMMARY:
        defined = [entry[name] for entry in shown if entry[name] is not None]
        values[name] = float(np.mean(defined)) if defined else None
        if not defined:
            reasons[name] = shown[0]["reasons"][name]
    return with_reasons({**values, "per_class": dict(per_class)}, reasons)
