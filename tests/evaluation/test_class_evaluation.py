"""Classes in an evaluation of folders: calibration first, the mask's own answer beside the head's, the gate."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.documents import check_schema, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.calibration import fingerprint
from nnunet_multitask.evaluation.class_evaluation import ClassOptions
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.labels import read_sidecar

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def evaluate(cohort: Path, model: str = "model", sidecar: bool = True, **options: Any) -> dict[str, Any]:
    labels = read_sidecar(cohort / "class_labels.json") if sidecar else None
    return evaluate_folders(
        cohort / "labels", cohort / model, labels=LABELS, sidecar=labels, classes=ClassOptions(**options)
    )


@pytest.fixture
def calibration(cohort: Path) -> Path:
    """Temperature 2, threshold 0.35 of IVH, fitted on c1."""
    document = {
        "version": 1,
        "fitted_on": {"cases": 1, "folds": [0], "case_fingerprints": [fingerprint("c1")]},
        "targets": {
            "subtype": {
                "type": "multiclass",
                "classes": ["IPH", "IVH"],
                "temperature": 2.0,
                "thresholds": {"youden": 0.35},
            }
        },
    }
    check_schema(document, "calibration.json", "calibration.json")
    write_json(cohort / "calibration.json", document)
    return cohort / "calibration.json"


def test_the_baseline_without_a_head_is_scored_by_its_masks(cohort: Path) -> None:
    document = evaluate(cohort, "baseline")
    check_schema(document, "evaluation.json", "evaluation.json")
    json.dumps(document, allow_nan=False)
    assert document["classification"] == {}
    assert (document["gate"], document["calibration"]) == (None, None)
    found = document["mask_classification"]["subtype"]
    assert (found["n"], found["regions"]) == (3, {"IPH": "IPH", "IVH": "IVH"})
    # every mask holds 2 slices of 4 x 5 (6, 7) voxels of IPH and 3 x 5 of IVH: IPH is always the largest part
    assert document["cases"]["c1"]["IPH"]["largest_lesion_ml"] == pytest.approx(2 * 4 * 5 * 20 / 1000)
    assert document["cases"]["c1"]["foreground"]["largest_lesion_ml"] == pytest.approx(2 * 4 * 5 * 20 / 1000)
    rule = found["rules"]["largest_component"]
    assert rule["accuracy"] == pytest.approx(1 / 3)
    assert rule["undecided"] == 0
    # IPH of 0.8, 0.96, 1.12 mL; only c2, in the middle, is one
    assert found["rules"]["volume"]["per_class"]["IPH"]["auc"] == 0.5
    assert found["rules"]["volume"]["auc"] == 0.5  # IVH: as large in every case


def test_calibrated_decisions_at_an_operating_point(
    cohort: Path, calibration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = evaluate(cohort)["classification"]["subtype"]
    assert (plain["recall"], plain["cases"]["c3"]["decision"]) == (0.5, "IPH")
    with caplog.at_level(logging.WARNING):
        document = evaluate(cohort, calibration=calibration, operating_point="youden")
    check_schema(document, "evaluation.json", "evaluation.json")
    found = document["classification"]["subtype"]
    odds = (0.4 / 0.6) ** 0.5
    assert found["cases"]["c3"]["probabilities"]["IVH"] == pytest.approx(odds / (1 + odds))
    assert (found["recall"], found["cases"]["c3"]["decision"]) == (1.0, "IVH")
    before = document["calibration"].pop("before")["subtype"]
    assert document["calibration"] == {"file": str(calibration), "operating_point": "youden", "in_sample_cases": 1}
    assert {name: before[name] for name in ("brier", "log_loss")} == {n: plain[n] for n in ("brier", "log_loss")}
    assert before["reliability"]["IVH"] == plain["per_class"]["IVH"]["reliability"]
    assert found["brier"] != before["brier"]
    assert "WARN [calibrated-in-sample]" in caplog.text
    assert "1 of 3 cases were used to fit it (c1)" in caplog.text


def test_a_gate_needs_no_labels_of_classes(
    cohort: Path, write_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_nifti(cohort / "labels" / "c2.nii.gz", np.zeros((6, 20, 24), np.uint8))  # c2 is healthy
    document = evaluate(cohort, gate="subtype=IPH", sidecar=False)
    check_schema(document, "evaluation.json", "evaluation.json")
    assert (document["classification"], document["mask_classification"]) == ({}, {})
    gate = document["gate"]
    assert (gate["closed"], gate["negative"], gate["calibrated"]) == (2, "IPH", False)  # c2, and c3 by mistake
    assert gate["negative_region"] == "IPH"
    assert "WARN [gate-clears-lesions] --gate subtype=IPH: expected a class without a lesion, but IPH" in caplog.text
    found = gate["regions"]["foreground"]
    assert found["healthy_with_mask"]["before"]["n"] == 1
    assert found["healthy_with_mask"]["after"]["n"] == 0
    assert found["wrongly_cleared"] == found["missed"]["after"]["n"] == 1
    assert found["false_positive_ml"]["before"] == pytest.approx((2 * 4 * 6 + 15) * 20 / 1000)


def test_volumes_become_decisions_by_the_other_folds(cohort: Path) -> None:
    entry = evaluate(cohort, folds={"c1": 0, "c2": 1, "c3": 2})["mask_classification"]["subtype"]
    thresholds = entry["rules"]["volume"]["per_class"]["IPH"]["thresholds"]
    assert set(thresholds) == {"0", "1", "2"}
    assert thresholds["1"] == {"threshold": None, "positive": None}  # both other cases are IVH
    assert entry["rules"]["volume"]["accuracy"] is not None
    content = json.loads((cohort / "model" / "classification.json").read_text())
    for index, case in enumerate(content["cases"].values()):
        case["fold"] = index
    (cohort / "model" / "classification.json").write_text(json.dumps(content))
    assert evaluate(cohort)["mask_classification"]["subtype"] == entry


def test_probabilities_of_voxels(cohort: Path) -> None:
    for index, case_id in enumerate(("c1", "c2", "c3")):
        voxels = np.zeros((3, 6, 20, 24), dtype=np.float32)
        voxels[0] = 1
        voxels[:, 2, 5, 6] = [0.1, 0.3 * index, 0.9 - 0.3 * index]
        np.savez_compressed(cohort / "model" / f"{case_id}.npz", probabilities=voxels)
    rule = evaluate(cohort, voxel_probabilities=True)["mask_classification"]["subtype"]["rules"]["maximum_probability"]
    assert rule["per_class"]["IVH"]["auc"] == 0.5  # of c1 and c3 0.9 and 0.3, of c2 0.6
    (cohort / "model" / "c1.nii.gz").unlink()  # without a mask there is nothing to find
    (cohort / "model" / "c1.npz").unlink()
    rule = evaluate(cohort, voxel_probabilities=True)["mask_classification"]["subtype"]["rules"]["maximum_probability"]
    assert rule["per_class"]["IVH"]["auc"] == 0.0
    (cohort / "model" / "c2.npz").unlink()
    (cohort / "model" / "c3.npz").write_bytes(b"no archive")
    with pytest.raises(InputErrors) as caught:
        evaluate(cohort, voxel_probabilities=True)
    assert [error.code for error in caught.value.errors] == ["missing-file", "bad-voxel-probabilities"]


def test_options_that_lack_something_are_refused(cohort: Path, calibration: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-classification\].*for --gate, found none"):
        evaluate(cohort, "baseline", gate="subtype=IPH")
    with pytest.raises(InputError, match=r"\[missing-calibration\].*expected --calibration beside --operating-point"):
        evaluate(cohort, operating_point="youden")
    with pytest.raises(InputErrors, match=r"\[unknown-rule\].*expected one of the rules youden, got max_f1"):
        evaluate(cohort, calibration=calibration, operating_point="max_f1")
    with pytest.raises(InputError, match=r"\[bad-gate\].*expected the class that clears the mask among IPH, IVH"):
        evaluate(cohort, gate="subtype")


def test_predicted_classes_without_a_reference_are_listed(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cohort / "model" / "classification.json"
    content = json.loads(path.read_text())
    content["cases"]["c9"] = content["cases"]["c1"]
    path.write_text(json.dumps(content))
    assert evaluate(cohort, "baseline")["case_flow"]["extra_classifications"] == []
    document = evaluate(cohort)
    check_schema(document, "evaluation.json", "evaluation.json")
    assert document["case_flow"]["extra_classifications"] == ["c9"]
    assert document["classification"]["subtype"]["n"] == 3
    assert "WARN [extra-classification]" in caplog.text
    assert "1 with predicted classes and no reference: not scored (c9)" in caplog.text
