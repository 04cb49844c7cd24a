"""Scoring a model against a sidecar: which cases count, slices and patients, intervals, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.class_metrics import multiclass_metrics, multilabel_metrics
from nnunet_multitask.evaluation.classification import DEFINITIONS, score_cases
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Target


def test_every_score_has_a_definition() -> None:
    explained = {*DEFINITIONS, "n", "support", "per_class", "positive_class", "reasons"}
    multilabel = multilabel_metrics([[0, 1], [1, 0]], [[0, 1], [1, 0]], [[0.1, 0.9], [0.8, 0.2]], ["a", "b"])
    for scores in (multiclass_metrics([0, 1], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["a", "b"]), multilabel):
        assert set(scores) <= explained
        assert set(scores["per_class"]["b"]) <= explained


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
        "patient": "case a",
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


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_no_labelled_case_gives_nulls(kind: Any) -> None:
    target = Target(name="subtype", type=kind, classes=("IPH", "IVH"))
    decision = () if kind == "multilabel" else "IPH"
    found = {"a": {"subtype": Prediction({"IPH": 0.7, "IVH": 0.3}, decision)}}
    model = Classification(Path("classification.json"), {}, {"subtype": target}, found)
    score = score_cases(model, LabelSidecar({"subtype": target}, {"a": Case()}), ["a"])["subtype"]
    assert (score["n"], score["auc"], score["reasons"]["auc"], score["missing_labels"]) == (0, None, "no_cases", 1)
    assert score["per_class"]["IVH"]["intervals"]["recall"]["reason"] == "no_cases"
    json.dumps(score, allow_nan=False)


def test_no_common_target_is_refused() -> None:
    other = LabelSidecar({"side": Target(name="side", type="binary", classes=("left", "right"))}, {})
    with pytest.raises(InputError, match=r"\[no-common-target\].*expected one of the targets side, got subtype"):
        score_cases(predicted({"a": 0.9}), other, ["a"])


def test_other_classes_are_refused() -> None:
    other = Target(name="subtype", type="multilabel", classes=("IPH", "IVH"))
    with pytest.raises(InputErrors, match=r"\[classes-differ\].*expected multiclass IPH, IVH .*got multilabel"):
        score_cases(predicted({"a": 0.9}, other), sidecar({"a": "IVH"}), ["a"])


# --- intervals ----------------------------------------------------------------------------------------------------


def cohort(groups: list[str | None]) -> tuple[Classification, LabelSidecar, list[str]]:
    rng = np.random.default_rng(0)
    names = [f"c{index}" for index in range(len(groups))]
    truth = np.arange(len(groups)) % 2
    probabilities = np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.2, len(groups)), 0, 1).tolist()
    predictions = predicted(dict(zip(names, probabilities, strict=True)))
    cases = {
        name: Case({"subtype": SUBTYPE.classes[label]}, group)
        for name, label, group in zip(names, truth, groups, strict=True)
    }
    return predictions, LabelSidecar({"subtype": SUBTYPE}, cases), names


def test_intervals_of_independent_cases_are_closed_where_they_can_be() -> None:
    score = score_cases(*cohort([None] * 40), resamples=200)["subtype"]
    methods = {name: interval["method"] for name, interval in score["intervals"].items()}
    assert {methods[name] for name in ("accuracy", "precision", "recall", "specificity", "npv")} == {"wilson"}
    assert methods["auc"] == "delong_logit"
    assert {methods[name] for name in ("balanced_accuracy", "f1", "mcc", "kappa", "average_precision", "brier")} == {
        "bca_200"
    }
    for name, interval in score["intervals"].items():
        metric, _, level = name.partition("/")
        value = score[metric][level]["value"] if level else score[metric]
        assert interval["low"] <= value <= interval["high"], name
    assert score["per_class"]["IVH"]["intervals"] == score["intervals"]
    band = score["per_class"]["IVH"]["roc"]["band"]
    assert all(low <= high for low, high in zip(band["low"], band["high"], strict=True))
    assert score["patients"] == 40
    json.dumps(score, allow_nan=False)


def test_several_scans_of_a_patient_are_drawn_together() -> None:
    score = score_cases(*cohort([f"p{index // 2}" for index in range(40)]), resamples=200)["subtype"]
    assert {interval["method"] for interval in score["intervals"].values()} == {"bca_200_by_patient"}
    assert score["patients"] == 20


def test_few_cases_have_no_bootstrap_interval() -> None:
    score = score_cases(*cohort([None] * 6))["subtype"]
    assert score["intervals"]["mcc"]["low"] is None
    assert score["intervals"]["mcc"]["reason"] == "fewer_than_10_units"
    assert score["intervals"]["recall"]["low"] is not None  # Wilson's needs no resamples
    assert score["per_class"]["IVH"]["roc"]["band"] is None


def test_the_same_input_gives_the_same_bytes() -> None:
    documents = [json.dumps(score_cases(*cohort([None] * 30), resamples=100)) for _ in range(2)]
    assert documents[0] == documents[1]


# --- slices and patients ------------------------------------------------------------------------------------------

FINDING = Target(name="finding", type="binary", classes=("none", "bleeding"))


def slice_model(cases: dict[str, list[float]], **options: Any) -> Classification:
    def prediction(slices: list[float]) -> Prediction:
        highest = max(slices)
        both = [{"none": 1 - p, "bleeding": p} for p in slices]
        return Prediction(
            {"none": 1 - highest, "bleeding": highest},
            "bleeding" if highest >= 0.5 else "none",
            {"bleeding": 0.5},
            slices=tuple(both),
        )

    found = {case_id: {"finding": prediction(slices)} for case_id, slices in cases.items()}
    return Classification(Path("classification.json"), {}, {"finding": FINDING}, found, **options)


def slice_sidecar(cases: dict[str, tuple[str, str, str]]) -> LabelSidecar:
    """Make labels from group and slices: + bleeding, - none, ? unknown."""
    words = {"+": "bleeding", "-": "none", "?": None}
    return LabelSidecar(
        {"finding": FINDING},
        {
            case_id: Case({"finding": label}, group, slices={"finding": tuple(words[sign] for sign in signs)})
            for case_id, (label, group, signs) in cases.items()
        },
    )


def test_slices_and_patients_by_hand() -> None:
    model = slice_model({"a": [0.9, 0.2, 0.1], "b": [0.1, 0.4, 0.3], "c": [0.6, 0.1, 0.2]})
    reference = slice_sidecar(
        {"a": ("bleeding", "P1", "+--"), "b": ("bleeding", "P1", "-+?"), "c": ("none", "P2", "---")}
    )
    score = score_cases(model, reference, ["a", "b", "c"])["finding"]
    assert (score["n"], score["recall"], score["specificity"]) == (3, 0.5, 0.0)
    slices = score["levels"]["slice"]
    assert (slices["n"], slices["patients"], slices["left_out"]) == (8, 2, {"unknown": 1})
    assert slices["confusion_matrix"] == [[5, 1], [1, 1]]
    patients = score["levels"]["patient_any_slice"]
    assert patients["n"] == 2
    assert patients["cases"]["P1"] == {
        "patient": "P1",
        "reference": "bleeding",
        "decision": "bleeding",
        "probabilities": {"none": pytest.approx(0.1), "bleeding": 0.9},
    }
    assert patients["confusion_matrix"] == [[0, 1], [0, 1]]
    means = score["levels"]["patient_mean_slice"]["cases"]
    assert means["P1"]["probabilities"]["bleeding"] == pytest.approx(2.0 / 6)
    assert (means["P1"]["decision"], means["P2"]["decision"]) == ("none", "none")
    scans = score["levels"]["patient_mean_scan"]["cases"]
    assert scans["P1"]["probabilities"]["bleeding"] == pytest.approx((0.9 + 0.4) / 2)
    assert scans["P1"]["decision"] == "bleeding"
    assert score["absent_levels"] == {}


def test_levels_that_are_not_there_say_why() -> None:
    score = score_cases(predicted({"a": 0.9, "b": 0.2}), sidecar({"a": "IVH", "b": "IPH"}), ["a", "b"])["subtype"]
    assert score["levels"] == {}
    assert score["absent_levels"]["slice"] == "no_slice_probabilities"
    assert score["absent_levels"]["patient_any_scan"] == "one_scan_per_patient"
    labels = LabelSidecar({"finding": FINDING}, {"a": Case({"finding": "none"}, "P")})
    assert (
        score_cases(slice_model({"a": [0.1]}), labels, ["a"])["finding"]["absent_levels"]["slice"] == "no_slice_labels"
    )


def test_slices_that_do_not_fit_the_sidecar_are_refused() -> None:
    reference = slice_sidecar({"a": ("none", "P1", "--"), "b": ("none", "P2", "---")})
    with pytest.raises(InputErrors, match=r"\[slice-count-differs\].*case a, .*expected the 2 slices .*, got 3"):
        score_cases(slice_model({"a": [0.1, 0.2, 0.3], "b": [0.1, 0.2, 0.3]}), reference, ["a", "b"])
    model = slice_model({"a": [0.1, 0.2], "b": [0.1, 0.2, 0.3]})
    without = Prediction(model.cases["b"]["finding"].probabilities, "none")
    model = Classification(model.path, {}, model.targets, {**model.cases, "b": {"finding": without}})
    with pytest.raises(InputErrors, match=r"\[missing-classification\].*slices of every case .* got none of 1: b"):
        score_cases(model, reference, ["a", "b"])
