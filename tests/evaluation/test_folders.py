"""Folders of masks: what is scored, counted, listed and refused."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.labels import read_sidecar

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def evaluate(cohort: Path, model: str = "baseline", **options: Any) -> dict[str, Any]:
    return evaluate_folders(cohort / "labels", cohort / model, labels=LABELS, **options)


def test_every_region_by_hand(cohort: Path) -> None:
    document = evaluate(cohort)
    check_schema(document, "evaluation.json", "evaluation.json")
    json.dumps(document, allow_nan=False)
    assert document["labels"] == {"IPH": [1], "IVH": [2], "foreground": [1, 2]}
    case = document["cases"]["c1"]
    assert case["IPH"]["dsc"] == pytest.approx(4 / 5)  # rows of 5 voxels, shifted by one
    assert case["IVH"]["dsc"] == pytest.approx(4 / 5)
    assert case["foreground"]["hd"] == 2.0  # one voxel along x
    assert case["IPH"]["reference_volume_ml"] == pytest.approx(2 * 4 * 5 * 20 / 1000)
    assert document["geometry"]["c1"]["spacing_mm"] == [5.0, 2.0, 2.0]
    assert document["geometry"]["c1"]["diagonal_mm"] == pytest.approx(np.hypot(np.hypot(30, 40), 48))
    assert document["summary"]["foreground"]["dsc"]["penalised"]["n"] == 3
    assert document["classification"] == {}


def test_several_processes_and_one_give_the_same(cohort: Path) -> None:
    assert evaluate(cohort, num_workers=2) == evaluate(cohort)


def test_classification_is_found_in_the_prediction_folder(cohort: Path) -> None:
    sidecar = read_sidecar(cohort / "class_labels.json")
    found = evaluate(cohort, "model", sidecar=sidecar)["classification"]["subtype"]
    assert (found["n"], found["auc"], found["recall"]) == (3, 1.0, 0.5)
    with pytest.raises(InputError, match=r"\[missing-sidecar\].*name the sidecar with --labels"):
        evaluate(cohort, "model", classification=cohort / "model" / "classification.json")


def test_a_missing_prediction_counts_as_missed_and_extra_ones_are_listed(
    cohort: Path, write_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    os.rename(cohort / "baseline" / "c2.nii.gz", cohort / "baseline" / "c9.nii.gz")
    write_nifti(cohort / "baseline" / "c2.nii", np.zeros((6, 20, 24), np.uint8))
    with caplog.at_level(logging.WARNING):
        document = evaluate(cohort)
    flow = document["case_flow"]
    assert (flow["reference"], flow["predicted"], flow["missing_predictions"]) == (3, 2, ["c2"])
    assert (flow["extra_predictions"], flow["other_endings"]) == (["c9"], ["c2.nii"])
    assert document["cases"]["c2"]["foreground"]["status"] == "missed"
    assert document["summary"]["foreground"]["status"]["missed"] == 1
    assert document["summary"]["foreground"]["dsc"]["penalised"]["n"] == 3
    assert document["summary"]["foreground"]["dsc"]["penalised"]["min"] == 0.0
    for code in ("missing-prediction", "extra-prediction", "other-ending"):
        assert f"WARN [{code}]" in caplog.text


def test_empty_masks_get_their_status(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    empty = np.zeros((6, 20, 24), np.uint8)
    write_nifti(cohort / "labels" / "c1.nii.gz", empty)
    write_nifti(cohort / "labels" / "c2.nii.gz", empty)
    write_nifti(cohort / "baseline" / "c2.nii.gz", empty)
    write_nifti(cohort / "baseline" / "c3.nii.gz", empty)
    document = evaluate(cohort)
    statuses = {case_id: scores["foreground"]["status"] for case_id, scores in document["cases"].items()}
    assert statuses == {"c1": "false_positive", "c2": "both_empty", "c3": "missed"}
    assert document["cases"]["c1"]["IPH"]["reasons"]["hd95"] == "false_positive"
    assert document["summary"]["foreground"]["hd95"]["ok"]["reason"] == "no_cases"


def test_ignored_voxels_are_not_scored(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[2, 5, 5:9] = 1
    for name in ("c1", "c2", "c3"):
        write_nifti(cohort / "baseline" / f"{name}.nii.gz", mask)
        reference = mask.copy()
        reference[2, 5, 7:9] = 3
        write_nifti(cohort / "labels" / f"{name}.nii.gz", reference)
    document = evaluate_folders(cohort / "labels", cohort / "baseline", labels={**LABELS, "ignore": 3})
    assert document["cases"]["c1"]["foreground"]["dsc"] == 1.0


def test_all_faults_are_told_at_once(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    write_nifti(cohort / "baseline" / "c1.nii.gz", np.zeros((6, 20, 24), np.uint8), affine)
    write_nifti(cohort / "baseline" / "c2.nii.gz", np.zeros((5, 20, 24), np.uint8))
    write_nifti(cohort / "baseline" / "c3.nii.gz", np.full((6, 20, 24), 7, np.uint8))
    with pytest.raises(InputErrors) as caught:
        evaluate(cohort)
    found = {error.code: str(error) for error in caught.value.errors}
    assert set(found) == {"geometry-differs", "shape-differs", "unknown-mask-value"}
    assert "c1.nii.gz" in found["geometry-differs"]
    assert "got (5, 20, 24)" in found["shape-differs"]
    assert "7 (2880 voxels)" in found["unknown-mask-value"]


def test_the_geometry_tolerance_is_an_option(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    affine = np.array([[-2.0, 0, 0, 20.01], [0, -2.0, 0, 20], [0, 0, 5.0, -10], [0, 0, 0, 1]])
    write_nifti(cohort / "baseline" / "c1.nii.gz", np.zeros((6, 20, 24), np.uint8), affine)
    with pytest.raises(InputErrors, match=r"\[geometry-differs\].*within 0.001 mm, got corners 0.01 mm apart"):
        evaluate(cohort)
    assert evaluate(cohort, tolerance_mm=0.02)["cases"]["c1"]["foreground"]["status"] == "missed"


def test_folders_without_cases_are_refused(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"\[no-references\].*expected masks ending in .nii.gz, found none"):
        evaluate_folders(tmp_path / "empty", cohort / "baseline", labels=LABELS)
    with pytest.raises(InputError, match=r"\[no-predictions\].*expected masks such as c1.nii.gz, found nothing"):
        evaluate_folders(cohort / "labels", tmp_path / "empty", labels=LABELS)
    with pytest.raises(InputError, match=r"\[missing-folder\]"):
        evaluate_folders(cohort / "labels", tmp_path / "nowhere", labels=LABELS)
