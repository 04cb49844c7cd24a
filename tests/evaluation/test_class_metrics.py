"""Scores of whole targets: by hand from confusion matrices, against scikit-learn, and where they are not defined."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from nnunet_multitask.evaluation.binary_metrics import SHARED_METRICS
from nnunet_multitask.evaluation.class_metrics import multiclass_metrics, multilabel_metrics


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
    assert scores["npv"] == pytest.approx(4 / 5)
    # by falling probability: right at ranks 1, 2, 4 and 6
    assert scores["average_precision"] == pytest.approx((1 / 1 + 2 / 2 + 3 / 4 + 4 / 6) / 4)
    assert scores["brier"] == pytest.approx(np.mean((p - reference) ** 2))
    assert scores["averages"]["macro"]["f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores["averages"]["weighted"]["f1"] == pytest.approx((4 * 6 / 9 + 6 * 8 / 11) / 10)
    assert scores["reasons"] == {"ece_15_equal_width_top_label": "fewer_cases_than_bins"}
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
    assert scores["reasons"]["precision"] == "no_positive_decision"
    assert scores["auc"] == 1.0


def test_three_classes_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 3, 120)
    probabilities = rng.dirichlet(np.ones(3), 120) * 0.6 + 0.4 * np.eye(3)[reference] * rng.random((120, 1))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    decision = probabilities.argmax(axis=1)
    scores = multiclass_metrics(reference, decision, probabilities, ["a", "b", "c"])
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(reference, decision))
    assert scores["mcc"] == pytest.approx(metrics.matthews_corrcoef(reference, decision))
    assert scores["kappa"] == pytest.approx(metrics.cohen_kappa_score(reference, decision))
    assert scores["log_loss"] == pytest.approx(metrics.log_loss(reference, probabilities))
    assert scores["brier"] == pytest.approx(((probabilities - np.eye(3)[reference]) ** 2).sum(axis=1).mean())
    for average in ("macro", "weighted"):
        means = scores["averages"][average]
        for name, function in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
            assert means[name] == pytest.approx(function(reference, decision, average=average))
        assert means["f1"] == pytest.approx(metrics.f1_score(reference, decision, average=average))
        auc = metrics.roc_auc_score(reference, probabilities, multi_class="ovr", average=average)
        assert means["auc"] == pytest.approx(auc)
        one_hot = np.eye(3)[reference]
        precision = metrics.average_precision_score(one_hot, probabilities, average=average)
        assert means["average_precision"] == pytest.approx(precision)
    assert scores["auc"] == scores["averages"]["macro"]["auc"]


def test_a_class_without_a_case_is_left_out_of_the_means() -> None:
    reference, decision = [0, 0, 1, 1], [0, 0, 1, 0]
    probabilities = np.eye(3)[decision] * 0.7 + 0.1
    scores = multiclass_metrics(reference, decision, probabilities, ["a", "b", "c"])
    assert scores["recall"] == pytest.approx((1 + 0.5) / 2)
    assert scores["per_class"]["c"]["reasons"]["recall"] == "no_positive_reference"
    assert scores["averages"]["weighted"]["recall"] == pytest.approx(3 / 4)
    json.dumps(scores, allow_nan=False)


def test_ties_count_half_and_equal_probabilities_share_a_fate() -> None:
    scores = multiclass_metrics([0, 1, 0, 1], [1, 1, 1, 1], [[0.5, 0.5]] * 4, ["no", "yes"])
    assert scores["auc"] == 0.5
    assert scores["average_precision"] == 0.5
    assert scores["per_class"]["yes"]["roc"]["fpr"] == [0.0, 1.0]
    assert scores["sensitivity_at_specificity"]["0.9"] == {"value": 0.0, "reached": 1.0, "threshold": None}
    assert scores["specificity_at_sensitivity"]["0.9"] == {"value": 0.0, "reached": 1.0, "threshold": 0.5}


def test_one_case_gives_no_number_that_means_nothing() -> None:
    scores = multiclass_metrics([1], [1], [[0.2, 0.8]], ["no", "yes"])
    assert (scores["n"], scores["accuracy"], scores["recall"]) == (1, 1.0, 1.0)
    assert scores["auc"] is scores["mcc"] is scores["ece_10_equal_mass"] is None
    assert scores["reasons"]["auc"] == "one_class"
    json.dumps(scores, allow_nan=False)
