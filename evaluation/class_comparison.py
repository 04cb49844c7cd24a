"""Classes of two models over the same cases: difference of the AUC by DeLong, of the accuracy by McNemar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_multitask.evaluation import mcnemar
from nnunet_multitask.evaluation.delong import delong_test
from nnunet_multitask.evaluation.families import correct
from nnunet_multitask.evaluation.paired_scores import mean_interval

DEFINITIONS = {
    "auc": "difference of the AUCs, model minus baseline: DeLong's test and interval of two correlated AUCs, each "
    "class against the rest, of two exclusive classes the second. It takes cases for independent: where a patient has "
    "several, p and interval are null",
    "accuracy": "difference of the share of cases with every class right, model minus baseline, with a BCa interval "
    "that draws whole patients. " + mcnemar.DEFINITION + "; null where a patient has several cases",
}
CLUSTERED = "several_cases_of_a_patient"


def compare_classes(model: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare two models target by target.

    Args:
        model, baseline: "classification" of their evaluations: scores by target, with "classes", "type" and "cases".

    Returns:
        By target that both predict {"n", "unit", "auc": by class, "accuracy"}; empty where there is none. Only cases
        that both predict and whose label is known are compared; "n" counts them.
    """
    return {
        target: _compare(model[target], baseline[target])
        for target in model
        if target in baseline and model[target]["cases"].keys() & baseline[target]["cases"].keys()
    }


def correct_classes(comparisons: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    """Write "p_holm" and "family" into the tests of each target, in place; comparisons are by model and target."""
    for target in dict.fromkeys(target for targets in comparisons.values() for target in targets):
        members = []
        for model, targets in comparisons.items():
            if target in targets:
                members += [(f"{model}: auc {name}", entry) for name, entry in targets[target]["auc"].items()]
                members.append((f"{model}: accuracy", targets[target]["accuracy"]["mcnemar"]))
        correct(members)


def _compare(model: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    shared = [case_id for case_id in baseline["cases"] if case_id in model["cases"]]
    ours = [model["cases"][case_id] for case_id in shared]
    theirs = [baseline["cases"][case_id] for case_id in shared]
    patients = {patient: index for index, patient in enumerate(dict.fromkeys(case["patient"] for case in ours))}
    units = np.array([patients[case["patient"]] for case in ours], dtype=int)
    clustered = len(patients) < len(shared)
    classes = baseline["classes"]
    scored = classes[1:] if baseline["type"] != "multilabel" and len(classes) == 2 else classes
    return {
        "n": len(shared),
        "unit": "patient" if clustered else "case",
        "units": len(patients),
        "auc": {name: _compare_auc(name, ours, theirs, clustered) for name in scored},
        "accuracy": _compare_accuracy(ours, theirs, units, clustered),
    }


def _compare_auc(
    name: str, ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], clustered: bool
) -> dict[str, Any]:
    truth = [_has(case["reference"], name) for case in ours]
    scores = ([case["probabilities"][name] for case in cases] for cases in (ours, theirs))
    document = delong_test(truth, *scores).to_json()
    document["baseline_auc"] = document.pop("other_auc")
    if clustered:
        document |= {"low": None, "high": None, "z": None, "p": None, "reason": CLUSTERED}
    return document


def _compare_accuracy(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], units: np.ndarray, clustered: bool
) -> dict[str, Any]:
    right, base = ([_right(case) for case in cases] for cases in (ours, theirs))
    test = mcnemar.mcnemar_test(right, base)
    if clustered:
        test |= {"p": None, "reason": CLUSTERED}
    return {
        "model": float(np.mean(right)),
        "baseline": float(np.mean(base)),
        "difference": float(np.mean(right) - np.mean(base)),
        "interval": mean_interval(np.subtract(right, base, dtype=np.float64), units).to_json(),
        "mcnemar": test,
    }


def _right(case: Mapping[str, Any]) -> bool:
    reference, decision = case["reference"], case["decision"]
    return reference == decision if isinstance(reference, str) else set(reference) == set(decision)


def _has(label: str | list[str], name: str) -> bool:
    return label == name if isinstance(label, str) else name in label
