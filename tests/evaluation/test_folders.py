"""Folders of masks: what is scored, counted, listed and refused."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.labels import Case, LabelSidecar, read_sidecar
from nnunet_multitask.targets import Target

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
    # 4 rows of 5 voxels of 2 mm: the outline's corners are the middles of the outer edges
    assert case["IPH"]["reference_largest_diameter_mm"] == pytest.approx(np.hypot(10, 6))
    assert case["IPH"]["nsd"] == 1.0  # nothing is more than one voxel of 2 mm away
    assert case["IPH"]["lesions"]["true_positives"] == 1
    assert case["IPH"]["slices"]["dsc"] == pytest.approx(4 / 5)
    assert (case["IPH"]["slices"]["n"], case["IPH"]["slices"]["true_negatives"]) == (6, 4)
    assert "sidecar" not in case["IPH"]["slices"]
    assert document["geometry"]["c1"]["spacing_mm"] == [5.0, 2.0, 2.0]
    assert document["geometry"]["c1"]["diagonal_mm"] == pytest.approx(np.hypot(np.hypot(30, 40), 48))
    assert document["summary"]["foreground"]["dsc"]["penalised"]["n"] == 3
    assert document["classification"] == {}
    summary = document["summary"]["foreground"]
    assert (summary["lesions"]["n"], summary["lesions"]["reference_lesions"], summary["lesions"]["f1"]) == (3, 6, 1.0)
    assert summary["slices"]["n"] == 18
    assert summary["volume_agreement"]["bias"] == 0.0
    assert summary["abc2_agreement"]["n"] == 3
    assert document["warnings"] == []
    assert {"lesions", "slices", "volumes", "summary"} <= set(document["definitions"])
    for name in ("nsd", "reference_abc2_ml", "reference_largest_diameter_mm"):
        assert name in document["definitions"]["segmentation"]


@pytest.mark.parametrize(("order", "axial"), [((0, 1, 2), 0), ((2, 1, 0), 2), ((1, 0, 2), 1), ((2, 0, 1), 1)])
def test_a_scan_stored_along_another_axis_scores_the_same(
    cohort: Path, write_nifti: Callable[..., Path], order: tuple[int, ...], axial: int
) -> None:
    """The same voxels of the same patient, the axes of the array in another order, and one of them backwards."""
    expected = evaluate(cohort)
    for folder in ("labels", "baseline"):
        for path in (cohort / folder).glob("*.nii.gz"):
            image = nibabel.load(path)
            array = np.asarray(image.dataobj).T.transpose(order)[::-1]  # (z, y, x) of the new order
            columns = [2 - axis for axis in reversed(order)]  # old voxel axis (x, y, z) of each new one
            affine = image.affine.copy()
            affine[:3, :3] = image.affine[:3, columns]
            affine[:3, 3] += affine[:3, 2] * (array.shape[0] - 1)
            affine[:3, 2] *= -1
            write_nifti(cohort / "turned" / folder / path.name, array, affine)
    found = evaluate_folders(cohort / "turned" / "labels", cohort / "turned" / "baseline", labels=LABELS)
    assert {entry["axial_axis"] for entry in found["geometry"].values()} == {axial}
    assert found["geometry"]["c1"]["diagonal_mm"] == pytest.approx(expected["geometry"]["c1"]["diagonal_mm"])
    for case_id, regions in expected["cases"].items():
        for region, score in regions.items():
            for name, value in score.items():
                turned = found["cases"][case_id][region][name]
                assert turned == (pytest.approx(value) if isinstance(value, (float, dict)) else value), name


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


def test_missing_predictions_can_be_refused_all_at_once(cohort: Path) -> None:
    for name in ("c1", "c3"):
        (cohort / "baseline" / f"{name}.nii.gz").unlink()
    with pytest.raises(InputErrors, match=r"\[missing-prediction\]") as caught:
        evaluate(cohort, missing="stop")
    assert [Path(error.where).name for error in caught.value.errors] == ["c1.nii.gz", "c3.nii.gz"]


def test_a_missing_prediction_and_an_empty_one_score_the_same(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    (cohort / "baseline" / "c1.nii.gz").unlink()
    missing = evaluate(cohort)
    write_nifti(cohort / "baseline" / "c1.nii.gz", np.zeros((6, 20, 24), np.uint8))
    empty = evaluate(cohort)
    assert missing["cases"] == empty["cases"]
    assert missing["summary"] == empty["summary"]
    assert (missing["geometry"]["c1"]["prediction"], empty["geometry"]["c1"]["prediction"]) == ("missing", "found")


def test_regions_with_the_same_voxels_score_the_same(cohort: Path) -> None:
    labels = {"background": 0, "IPH": 1, "IVH": 2, "blood": [1, 2]}
    case = evaluate_folders(cohort / "labels", cohort / "baseline", labels=labels)["cases"]["c1"]
    assert case["blood"] == case["foreground"] != case["IPH"]


def test_scores_do_not_depend_on_where_the_lesion_lies(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    """Everything is computed in the box of the masks: moving both changes nothing but the slices that are meant."""
    before = evaluate(cohort)["cases"]["c1"]
    for folder in ("labels", "baseline"):
        path = cohort / folder / "c1.nii.gz"
        mask = np.asarray(nibabel.load(path).dataobj).T
        write_nifti(path, np.roll(mask, (-2, 4, 9), axis=(0, 1, 2)))
    assert evaluate(cohort)["cases"]["c1"] == before


def test_slices_are_held_against_the_sidecar(cohort: Path) -> None:
    targets = {
        "kinds": Target("kinds", "multilabel", ("IPH", "IVH"), present_if_label={"IPH": (1,)}),
        "blood": Target("blood", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)}),
    }
    # the masks have IPH in slices 2 and 3, IVH in slice 4
    kinds = ((), ("IPH",), ("IPH",), None, ("IVH",), ())
    blood = ("no", "no", "yes", "yes", "yes", "no")
    cases = {"c1": Case(slices={"kinds": kinds, "blood": blood}), "c2": Case(slices={"blood": blood})}
    document = evaluate(cohort, sidecar=LabelSidecar(targets, cases))
    check_schema(document, "evaluation.json", "evaluation.json")
    case = document["cases"]["c1"]
    found = case["IPH"]["slices"]["sidecar"]["kinds"]["IPH"]
    counts = [found[name] for name in ("true_positives", "misses", "false_positives", "true_negatives", "unlabelled")]
    assert counts == [1, 1, 0, 3, 1]
    assert case["IVH"]["slices"]["sidecar"]["kinds"]["IVH"]["f1"] == 1.0  # by its name
    assert case["foreground"]["slices"]["sidecar"]["blood"]["yes"]["true_positives"] == 3
    assert "sidecar" not in document["cases"]["c2"]["IPH"]["slices"]
    pooled = document["summary"]["foreground"]["slices"]["sidecar"]["blood"]["yes"]
    assert (pooled["true_positives"], pooled["true_negatives"]) == (6, 6)


def test_slices_without_the_masks_depth_are_refused(cohort: Path) -> None:
    target = Target("blood", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)})
    cases = {name: Case(slices={"blood": ("no",) * depth}) for name, depth in (("c1", 5), ("c2", 6), ("c3", 7))}
    with pytest.raises(InputErrors) as caught:
        evaluate(cohort, sidecar=LabelSidecar({"blood": target}, cases))
    assert [error.code for error in caught.value.errors] == ["slice-count-differs"] * 2
    assert "cases/c1/slices/blood: expected a label for each of the 6 axial slices of" in str(caught.value.errors[0])
    assert "got 5" in str(caught.value.errors[0])


def test_a_slice_with_ignored_voxels_is_still_called_positive(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[2, 5, 5:9] = 1
    for name in ("c1", "c2", "c3"):
        write_nifti(cohort / "baseline" / f"{name}.nii.gz", mask)
        write_nifti(cohort / "labels" / f"{name}.nii.gz", np.where(mask, 3, 0).astype(np.uint8))
    target = Target("blood", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)})
    slices = {"blood": ("no", "no", "yes", "no", "no", "no")}
    document = evaluate_folders(
        cohort / "labels",
        cohort / "baseline",
        labels={**LABELS, "ignore": 3},
        sidecar=LabelSidecar({"blood": target}, {"c1": Case(slices=slices)}),
    )
    scored = document["cases"]["c1"]["foreground"]
    assert scored["status"] == "both_empty"
    assert scored["slices"]["sidecar"]["blood"]["yes"]["f1"] == 1.0


def test_repaired_voxels_and_doubtful_headers_stand_in_the_document(
    cohort: Path, write_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = cohort / "baseline" / "c1.nii.gz"
    mask = np.asarray(nibabel.load(path).dataobj).astype(np.float32)
    mask[mask == 1] = 0.9999
    image = nibabel.Nifti1Image(mask, nibabel.load(path).affine)
    image.set_sform(image.affine, code=1)
    image.set_qform(np.diag([-2.0, -2.0, 5.0, 1.0]), code=1)
    nibabel.save(image, path)
    with caplog.at_level(logging.WARNING):
        document = evaluate(cohort)
    check_schema(document, "evaluation.json", "evaluation.json")
    assert document["geometry"]["c1"]["repaired_voxels"] == {"reference": 0, "prediction": 40}
    assert "repaired_voxels" not in document["geometry"]["c2"]
    (warning,) = document["warnings"]
    assert str(path) in warning
    assert warning in caplog.text


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


def test_a_mask_that_is_ignored_everywhere_is_no_empty_mask(cohort: Path, write_nifti: Callable[..., Path]) -> None:
    """Of a case with a class alone nobody knows the mask: no true negative, no DSC 1, no contradiction of its class."""
    write_nifti(cohort / "labels" / "c1.nii.gz", np.full((6, 20, 24), 3, np.uint8))
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[2, 5, 5:9] = 1  # 4 voxels of 2 x 2 x 5 mm
    write_nifti(cohort / "baseline" / "c1.nii.gz", mask)
    target = Target("blood", "binary", ("no", "yes"))
    cases = {case_id: Case(labels={"blood": "yes"}) for case_id in ("c1", "c2", "c3")}
    document = evaluate_folders(
        cohort / "labels",
        cohort / "baseline",
        labels={**LABELS, "ignore": 3},
        sidecar=LabelSidecar({"blood": target}, cases),
        both_empty="one",
    )
    check_schema(document, "evaluation.json", "evaluation.json")
    assert document["geometry"]["c1"]["ignored_voxels"] == 6 * 20 * 24
    assert "ignored_voxels" not in document["geometry"]["c2"]
    case, summary = document["cases"]["c1"]["foreground"], document["summary"]["foreground"]
    assert (case["status"], case["dsc"], case["reasons"]["dsc"]) == ("not_annotated", None, "not_annotated")
    assert case["volume_ml"] == case["largest_lesion_ml"] == pytest.approx(0.08)  # what the mask tells of the class
    assert summary["status"] == {"ok": 2, "both_empty": 0, "missed": 0, "false_positive": 0, "not_annotated": 1}
    assert [summary[name]["n"] for name in ("lesions", "volume_agreement", "abc2_agreement")] == [2, 2, 2]
    assert (summary["slices"]["n"], summary["dsc"]["penalised"]["n"], summary["volume_ml"]["defined"]["n"]) == (
        12,
        2,
        2,
    )
    assert summary["detection"]["true_negatives"] == 0
    assert document["mask_classification"]["blood"]["rules"]["any_voxel"]["recall"] == 1.0
    assert document["warnings"] == []
    for name in ("c2", "c3"):
        write_nifti(cohort / "labels" / f"{name}.nii.gz", np.full((6, 20, 24), 3, np.uint8))
    with pytest.raises(InputError, match=r"no-references.* every voxel of every mask ignored"):
        evaluate_folders(cohort / "labels", cohort / "baseline", labels={**LABELS, "ignore": 3})


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
