"""classification.json: what is read, and what is refused, with the case and the target in the message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.predictions import decide, read_classification
from nnunet_multitask.targets import Target


def document(probabilities: dict[str, Any], decision: Any = "IVH", kind: str = "multiclass") -> dict[str, Any]:
    return {
        "version": 1,
        "model": {"trainer": "nnUNetTrainerMultiTask", "folds": [0], "something_new": 1},
        "targets": {"subtype": {"type": kind, "classes": ["IPH", "IVH"]}},
        "cases": {"HEM_1": {"targets": {"subtype": {"probabilities": probabilities, "decision": decision}}}},
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "classification.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_reading(tmp_path: Path, kind: str) -> None:
    found = read_classification(write(tmp_path, document({"IPH": 0.3, "IVH": 0.7}, kind=kind)))
    assert found.targets["subtype"].type == kind
    assert found.cases["HEM_1"]["subtype"].probabilities == {"IPH": 0.3, "IVH": 0.7}
    assert found.cases["HEM_1"]["subtype"].decision == "IVH"
    assert found.model["trainer"] == "nnUNetTrainerMultiTask"


def test_multilabel_probabilities_need_no_sum(tmp_path: Path) -> None:
    path = write(tmp_path, document({"IPH": 0.9, "IVH": 0.7}, ["IPH", "IVH"], "multilabel"))
    assert read_classification(path).cases["HEM_1"]["subtype"].decision == ("IPH", "IVH")


@pytest.mark.parametrize(
    ("probabilities", "fault"),
    [
        ({"IPH": 0.3, "IVH": 0.6}, r"sum to 1 within 0.001 \(multiclass\), got 0.9"),
        ({"IPH": -2.5, "IVH": 3.5}, "expected probabilities from 0 to 1, got -2.5 for IPH -> apply softmax"),
        ({"IPH": 0.0, "IVH": 1e999}, None),
        ({"IPH": 1.0}, "expected a probability of each of IPH, IVH, got IPH"),
        ({"IPH": 0.5, "IVH": 0.5, "SAH": 0.0}, "got IPH, IVH, SAH"),
    ],
)
def test_probabilities_that_are_none_are_refused(tmp_path: Path, probabilities: dict[str, float], fault: str) -> None:
    content = json.dumps(document(probabilities)).replace("Infinity", "1e999")  # a number that overflows
    fault = fault or "expected probabilities from 0 to 1, got inf for IVH"
    with pytest.raises(InputErrors, match=rf"\[bad-probabilities\].*case HEM_1, target subtype: .*{fault}"):
        read_classification(write(tmp_path, content))


def test_a_sum_within_the_tolerance_is_read(tmp_path: Path) -> None:
    read_classification(write(tmp_path, document({"IPH": 0.3004, "IVH": 0.7})))


def test_nan_is_no_json(tmp_path: Path) -> None:
    content = json.dumps(document({"IPH": float("nan"), "IVH": 0.5}))
    with pytest.raises(InputError, match=r"\[bad-json\].*NaN"):
        read_classification(write(tmp_path, content))


@pytest.mark.parametrize(("decision", "kind"), [("SAH", "multiclass"), (["IVH"], "multiclass"), ("IVH", "multilabel")])
def test_decisions_that_are_none_are_refused(tmp_path: Path, decision: Any, kind: str) -> None:
    with pytest.raises(InputErrors, match=r"\[bad-decision\].*case HEM_1, target subtype"):
        read_classification(write(tmp_path, document({"IPH": 0.3, "IVH": 0.7}, decision, kind)))


def test_an_undeclared_target_is_refused(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7})
    content["cases"]["HEM_1"]["targets"]["side"] = content["cases"]["HEM_1"]["targets"]["subtype"]
    with pytest.raises(
        InputErrors, match=r"\[unknown-target\].*expected one of the declared targets subtype, got side"
    ):
        read_classification(write(tmp_path, content))


def test_all_faults_at_once_and_shape_faults_with_their_place(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.6}, "SAH")
    with pytest.raises(InputErrors) as caught:
        read_classification(write(tmp_path, content))
    assert [error.code for error in caught.value.errors] == ["bad-probabilities", "bad-decision"]
    del content["cases"]["HEM_1"]["targets"]["subtype"]["decision"]
    with pytest.raises(InputErrors, match=r"cases/HEM_1/targets/subtype.*'decision' is a required property"):
        read_classification(write(tmp_path, content))


def test_an_out_of_fold_table_has_fold_and_reference(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7})
    content["cases"]["HEM_1"] |= {"fold": 3, "reference": {"subtype": "IPH"}}
    content["cases"]["HEM_2"] = {**content["cases"]["HEM_1"], "fold": "all", "reference": {"subtype": None}}
    found = read_classification(write(tmp_path, content))
    assert found.folds == {"HEM_1": 3, "HEM_2": "all"}
    assert found.references == {"HEM_1": {"subtype": "IPH"}, "HEM_2": {}}
    content["cases"]["HEM_1"]["reference"] = {"subtype": "SAH"}
    with pytest.raises(InputErrors, match=r"\[unknown-class\].*target subtype, reference: .*got 'SAH'"):
        read_classification(write(tmp_path, content))


def test_thresholds_and_calibration_are_read(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7}, kind="binary")
    prediction = content["cases"]["HEM_1"]["targets"]["subtype"]
    prediction |= {"threshold": 0.35, "calibrated": True}
    found = read_classification(write(tmp_path, content)).cases["HEM_1"]["subtype"]
    assert (found.thresholds, found.calibrated) == ({"IVH": 0.35}, True)
    prediction["threshold"] = None
    assert read_classification(write(tmp_path, content)).cases["HEM_1"]["subtype"].thresholds is None
    prediction["threshold"] = {"SAH": 0.5}
    with pytest.raises(InputErrors, match=r"\[bad-threshold\].*classes among IPH, IVH, got SAH"):
        read_classification(write(tmp_path, content))


def test_slices_are_read(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7}, kind="binary")
    content["cases"]["HEM_1"]["slices"] = {"subtype": [0.25, None, {"IPH": 0.1, "IVH": 0.9}]}
    found = read_classification(write(tmp_path, content)).cases["HEM_1"]["subtype"].slices
    assert found == ({"IPH": 0.75, "IVH": 0.25}, None, {"IPH": 0.1, "IVH": 0.9})


@pytest.mark.parametrize(
    ("kind", "slices", "fault"),
    [
        ("binary", [0.5, 3.2], "slice 1: expected probabilities from 0 to 1, got 3.2 for IVH"),
        ("multiclass", [{"IPH": 0.5, "IVH": 0.4}], r"slice 0: expected probabilities that sum to 1 .*got 0.9"),
        ("multiclass", [0.5], r"slice 0: expected a probability by class \(multiclass\), got the number 0.5"),
        ("multilabel", [{"IPH": 0.5, "IVH": 1.2}], "slice 0: expected probabilities from 0 to 1, got 1.2 for IVH"),
        ("multilabel", [{"IPH": 0.5}], "slice 0: expected a probability of each of IPH, IVH, got IPH"),
    ],
)
def test_bad_slices_are_refused(tmp_path: Path, kind: str, slices: list[Any], fault: str) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7}, ["IVH"] if kind == "multilabel" else "IVH", kind)
    content["cases"]["HEM_1"]["slices"] = {"subtype": slices}
    with pytest.raises(InputErrors, match=rf"\[bad-probabilities\].*case HEM_1, target subtype, {fault}"):
        read_classification(write(tmp_path, content))


def test_multilabel_logits_are_refused(tmp_path: Path) -> None:
    content = document({"IPH": 2.3, "IVH": 0.7}, ["IPH"], "multilabel")
    with pytest.raises(InputErrors, match=r"\[bad-probabilities\].*got 2.3 for IPH -> apply softmax or sigmoid"):
        read_classification(write(tmp_path, content))


def test_a_binary_target_of_three_classes_is_refused(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7}, kind="binary")
    content["targets"]["subtype"]["classes"].append("SAH")
    with pytest.raises(InputErrors, match=r"\[bad-target\].*targets/subtype/classes: expected two classes .* got 3"):
        read_classification(write(tmp_path, content))


def test_slices_without_the_case_are_refused(tmp_path: Path) -> None:
    content = document({"IPH": 0.3, "IVH": 0.7}, kind="binary")
    content["cases"]["HEM_1"] = {"targets": {}, "slices": {"subtype": [0.5]}}
    with pytest.raises(InputErrors, match=r"\[missing-classification\].*of the case beside those of its slices"):
        read_classification(write(tmp_path, content))


BINARY = Target(name="t", type="binary", classes=("no", "yes"))
SEVERAL = Target(name="t", type="multilabel", classes=("a", "b", "c"))
ONE_OF = Target(name="t", type="multiclass", classes=("a", "b", "c"))
ONE_OF_TWO = Target(name="t", type="multiclass", classes=("a", "b"))


@pytest.mark.parametrize(
    ("target", "p", "thresholds", "decision"),
    [
        (BINARY, (0.5, 0.5), None, "yes"),
        (BINARY, (0.6, 0.4), {"yes": 0.4}, "yes"),
        (BINARY, (0.6, 0.4), {"yes": 0.41}, "no"),
        (ONE_OF, (0.3, 0.4, 0.3), {"c": 0.1}, "b"),
        (ONE_OF_TWO, (0.5, 0.5), None, "a"),
        (ONE_OF_TWO, (0.6, 0.4), {"b": 0.3}, "b"),
        (SEVERAL, (0.6, 0.4, 0.5), None, ("a", "c")),
        (SEVERAL, (0.6, 0.4, 0.5), {"a": 0.7, "b": 0.3}, ("b", "c")),
    ],
)
def test_decisions(target: Target, p: tuple[float, ...], thresholds: dict[str, float] | None, decision: Any) -> None:
    assert decide(target, dict(zip(target.classes, p, strict=True)), thresholds) == decision
