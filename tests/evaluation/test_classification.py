"""Classification scores: by hand from confusion matrices, degenerate cases, alignment with the sidecar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.errors import InputErrors
from nnunet_multitask.evaluation.classification import (
    DEFINITIONS,
    SHARED_METRICS,
    multiclass_metrics,
    multilabel_metrics,
    score_cases,
)
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.labels import Case, LabelSidecar, Target


def test_two_classes_by_hand() -> None:
    # TP 3, FN 1, FP 2, TN 4
    reference = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    decision = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    p = np.array([0.9, 0.8, 0.7, 0.4, 0.75, 0.6, 0.3, 0.2, 0.1, 0.05])
    scores = multiclass_metrics(reference, decision, np.stack([1 - p, p], axis=1), ["IPH", "IVH"])
    assert scores["positive_class"] == "IVH"
    assert scores["averaging"] == "positive class: IVH"
    assert scores["confusion_matrix"] == [[4, 2], [1, 3]]
    assert scores["support"] == {"IPH": 6, "IVH": 4}
    assert scores["accuracy"] == pytest.approx(0.7)
    assert scores["precision"] == pytest.approx(3 / 5)
    assert scores["recall"] == pytest.approx(3 / 4)
    assert scores["specificity"] == pytest.approx(4 / 6)
    assert scores["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert scores["f1"] == pytest.approx(6 / 9)
    assert scores["mcc"] == pytest.approx((3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5))
    assert scores["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))  # by chance 0.5 * 0.4 + 0.5 * 0.6
    # of 24 pairs (IVH, IPH): 0.9 and 0.8 win all, 0.7 loses to 0.75, 0.4 to 0.75 and 0.6
    assert scores["auc"] == pytest.approx(21 / 24)
    assert "reasons" not in scores
    assert scores["per_class"]["IPH"]["recall"] == pytest.approx(4 / 6)
    roc = scores["per_class"]["IVH"]["roc"]
    assert (roc["fpr"][0], roc["tpr"][0], roc["thresholds"][0]) == (0.0, 0.0, None)
    assert (roc["fpr"][-1], roc["tpr"][-1]) == (1.0, 1.0)


def test_three_classes_are_averaged_and_say_so() -> None:
    reference, decision = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]
    scores = multiclass_metrics(reference, decision, np.eye(3)[decision], ["a", "b", "c"])
    assert scores["averaging"] == "macro"
    assert scores["positive_class"] is None
    assert scores["reasons"]["positive_class"] == "averaged_over_classes"
    assert scores["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert scores["precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert scores["recall"] == scores["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert scores["specificity"] == pytest.approx((3 / 4 + 3 / 4 + 1) / 3)


def test_multilabel_by_hand() -> None:
    reference = [[1, 0], [1, 1], [0, 0], [0, 1]]
    decision = [[1, 0], [0, 1], [0, 0], [0, 0]]
    scores = multilabel_metrics(reference, decision, [[0.9, 0.1], [0.4, 0.8], [0.2, 0.3], [0.5, 0.2]], ["IVH", "IPH"])
    assert scores["subset_accuracy"] == 0.5
    assert scores["accuracy"] == pytest.approx(0.75)
    assert scores["recall"] == 0.5
    assert scores["precision"] == 1.0
    assert scores["per_class"]["IVH"]["confusion_matrix"] == [[2, 0], [1, 1]]
    assert scores["per_class"]["IVH"]["auc"] == 0.75  # 0.4 loses to 0.5
    assert "confusion_matrix" not in scores


def test_one_class_is_null_with_a_reason_and_strict_json() -> None:
    scores = multiclass_metrics([1, 1, 1], [1, 0, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], ["no", "yes"])
    for name in ("auc", "balanced_accuracy", "mcc", "kappa"):
        assert scores[name] is None
        assert scores["reasons"][name] == "one_class"
    assert scores["reasons"]["specificity"] == "no_negative_reference"
    assert scores["accuracy"] == pytest.approx(2 / 3)
    json.dumps(scores, allow_nan=False)


def test_no_case_at_all_is_null_with_a_reason() -> None:
    for scores in (multiclass_metrics([], [], [], ["a", "b"]), multilabel_metrics([], [], [], ["a", "b", "c"])):
        assert scores["n"] == 0
        assert all(scores[name] is None and scores["reasons"][name] == "no_cases" for name in SHARED_METRICS)
        json.dumps(scores, allow_nan=False)


def test_the_same_decision_for_every_case() -> None:
    scores = multiclass_metrics([0, 1, 1], [0, 0, 0], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], ["a", "b"])
    assert (scores["mcc"], scores["kappa"], scores["recall"], scores["f1"]) == (0.0, 0.0, 0.0, 0.0)
    assert scores["precision"] is None
    assert scores["reasons"] == {"precision": "no_positive_decision"}
    assert scores["auc"] == 1.0


def test_every_score_has_a_definition() -> None:
    scores = multiclass_metrics([0, 1], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["a", "b"])
    numbers = set(scores) - {"n", "support", "per_class", "positive_class"}
    assert numbers <= set(DEFINITIONS)


# --- against a sidecar --------------------------------------------------------------------------------------------

SUBTYPE = Target(name="subtype", type="multiclass", classes=("IPH", "IVH"))


def predicted(cases: dict[str, float], target: Target = SUBTYPE) -> Classification:
    predictions = {
        case_id: {target.name: Prediction({"IPH": 1 - p, "IVH": p}, "IVH" if p > 0.5 else "IPH")}
        for case_id, p in cases.items()
    }
    return Classification(Path("classification.json"), {}, {target.name: target}, predictions)


def sidecar(labels: dict[str, str | None]) -> LabelSidecar:
    cases = {case_id: Case(labels={} if label is None else {"subtype": label}) for case_id, label in labels.items()}
    return LabelSidecar({"subtype": SUBTYPE}, cases)


def test_missing_labels_are_left_out_and_counted() -> None:
    scores = score_cases(
        predicted({"a": 0.9, "b": 0.2, "c": 0.8, "extra": 0.1}),
        sidecar({"a": "IVH", "b": "IPH", "c": None}),
        ["a", "b", "c", "not_in_sidecar"],
    )["subtype"]
    assert (scores["n"], scores["missing_labels"]) == (2, 2)
    assert scores["accuracy"] == scores["auc"] == 1.0
    assert scores["cases"]["a"] == {
        "reference": "IVH",
        "decision": "IVH",
        "probabilities": {"IPH": pytest.approx(0.1), "IVH": 0.9},
    }


def test_classes_in_another_order_are_matched_by_name() -> None:
    turned = Target(name="subtype", type="multiclass", classes=("IVH", "IPH"))
    scores = score_cases(predicted({"a": 0.9, "b": 0.2}, turned), sidecar({"a": "IVH", "b": "IPH"}), ["a", "b"])
    assert scores["subtype"]["positive_class"] == "IVH"
    assert scores["subtype"]["auc"] == 1.0


def test_a_labelled_case_without_prediction_is_refused_by_name() -> None:
    with pytest.raises(InputErrors, match=r"\[missing-classification\].*got none of 1: b -> predict these cases too"):
        score_cases(predicted({"a": 0.9}), sidecar({"a": "IVH", "b": "IPH"}), ["a", "b"])


def test_other_classes_are_refused() -> None:
    other = Target(name="subtype", type="multilabel", classes=("IPH", "IVH"))
    with pytest.raises(InputErrors, match=r"\[classes-differ\].*expected multiclass IPH, IVH .*got multilabel"):
        score_cases(predicted({"a": 0.9}, other), sidecar({"a": "IVH"}), ["a"])
