"""classification.json: what is read, and what is refused, with the case and the target in the message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.predictions import read_classification


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
