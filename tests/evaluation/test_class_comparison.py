"""Classes of two models: AUC and accuracy by hand, clustering, families."""

from __future__ import annotations

from typing import Any

import pytest

from nnunet_multitask.evaluation.class_comparison import CLUSTERED, compare_classes, correct_classes

TRUTH = ["no", "no", "no", "yes", "yes", "yes"]


def scored(
    probabilities: list[float], patients: list[str] | None = None, truth: list[str] = TRUTH
) -> dict[str, dict[str, Any]]:
    cases = {
        f"c{index}": {
            "patient": f"p{index}" if patients is None else patients[index],
            "reference": label,
            "decision": "yes" if p >= 0.5 else "no",
            "probabilities": {"no": 1 - p, "yes": p},
        }
        for index, (p, label) in enumerate(zip(probabilities, truth, strict=True))
    }
    return {"blood": {"type": "binary", "classes": ["no", "yes"], "cases": cases}}


MODEL = [0.1, 0.2, 0.6, 0.7, 0.8, 0.9]  # every pair in order: AUC 1, 5 of 6 right
BASELINE = [0.1, 0.6, 0.7, 0.65, 0.3, 0.9]  # 6 of 9 pairs in order, 3 of 6 right


def test_by_hand() -> None:
    document = compare_classes(scored(MODEL), scored(BASELINE))["blood"]
    assert (document["n"], document["unit"], list(document["auc"])) == (6, "case", ["yes"])
    auc = document["auc"]["yes"]
    assert (auc["auc"], auc["baseline_auc"]) == (1.0, pytest.approx(6 / 9))
    assert auc["difference"] == pytest.approx(1 / 3)
    assert 0 < auc["p"] < 1
    accuracy = document["accuracy"]
    assert accuracy["difference"] == pytest.approx(5 / 6 - 3 / 6)
    assert accuracy["mcnemar"]["only_model_right"] == 2
    assert accuracy["mcnemar"]["p"] == pytest.approx(0.5)
    assert accuracy["interval"]["reason"] == "fewer_than_10_units"


def test_several_cases_of_a_patient_have_no_p() -> None:
    patients = ["a", "a", "b", "c", "d", "e"]
    document = compare_classes(scored(MODEL, patients), scored(BASELINE, patients))["blood"]
    assert (document["unit"], document["units"]) == ("patient", 5)
    for test in (document["auc"]["yes"], document["accuracy"]["mcnemar"]):
        assert (test["p"], test["reason"]) == (None, CLUSTERED)
    assert document["auc"]["yes"]["difference"] == pytest.approx(1 / 3)


def test_one_class_has_no_auc() -> None:
    truth = ["yes"] * 6
    auc = compare_classes(scored(MODEL, truth=truth), scored(BASELINE, truth=truth))["blood"]["auc"]["yes"]
    assert (auc["auc"], auc["p"], auc["reason"]) == (None, None, "one_class")


def test_multilabel_is_right_whatever_the_order() -> None:
    def labels(decision: list[str]) -> dict[str, Any]:
        case = {"patient": "p", "reference": ["a", "b"], "decision": decision, "probabilities": {"a": 0.9, "b": 0.8}}
        return {"findings": {"type": "multilabel", "classes": ["a", "b"], "cases": {"c": case}}}

    accuracy = compare_classes(labels(["b", "a"]), labels(["a"]))["findings"]["accuracy"]
    assert (accuracy["model"], accuracy["baseline"]) == (1.0, 0.0)


def test_a_model_without_classes_is_not_compared() -> None:
    assert compare_classes(scored(MODEL), {}) == {}


def test_auc_and_accuracy_are_one_family() -> None:
    comparisons = {name: compare_classes(scored(MODEL), scored(BASELINE)) for name in ("a", "b")}
    correct_classes(comparisons)
    auc = comparisons["a"]["blood"]["auc"]["yes"]
    assert auc["family"] == ["a: auc yes", "a: accuracy", "b: auc yes", "b: accuracy"]
    assert auc["p_holm"] == pytest.approx(min(1.0, 4 * auc["p"]))
    assert comparisons["b"]["blood"]["accuracy"]["mcnemar"]["p_holm"] == 1.0
