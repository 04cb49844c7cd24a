import csv
import json

import nibabel
import numpy as np
import pytest

from nnunet_multitask.documents import check_schema
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.writers import (
    mask_values,
    measure_mask,
    target_record,
    write_classification,
)
from nnunet_multitask.labels import Target

MULTICLASS = Target("subtype", "multiclass", ("IPH", "IVH"))
BINARY = Target("ich", "binary", ("no", "yes"))
MULTILABEL = Target("findings", "multilabel", ("SAH", "SDH", "EDH"))
DATASET = {"labels": {"background": 0, "blood": 1, "ignore": 2}, "file_ending": ".nii.gz"}


def save_mask(path, array, spacing=(1.0, 2.0, 5.0)):
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1])), path)


def test_multiclass_decides_for_the_most_probable():
    record = target_record(MULTICLASS, np.array([0.3, 0.7]), None)
    assert record["probabilities"] == {"IPH": 0.3, "IVH": 0.7}
    assert (record["decision"], record["threshold"], record["calibrated"]) == ("IVH", None, False)
    assert record["fold_spread"] == {"IPH": None, "IVH": None}


def test_binary_has_both_classes_and_a_threshold():
    record = target_record(BINARY, np.array([0.5]), np.array([0.1]))
    assert record["probabilities"] == {"no": 0.5, "yes": 0.5}
    assert (record["decision"], record["threshold"]) == ("yes", 0.5)
    assert record["fold_spread"] == {"no": 0.1, "yes": 0.1}


def test_multilabel_decides_for_each_class():
    assert target_record(MULTILABEL, np.array([0.9, 0.4, 0.5]), None)["decision"] == ["SAH", "EDH"]
    assert target_record(MULTILABEL, np.array([0.1, 0.4, 0.2]), None)["decision"] == []


def test_mask_is_measured_in_ml_and_components(tmp_path):
    array = np.zeros((6, 6, 6))
    array[0, 0, 0] = array[1, 1, 1] = 1  # touch by a corner: one component
    array[4, 4, 4] = 1
    save_mask(tmp_path / "mask.nii.gz", array)
    measured = measure_mask(tmp_path / "mask.nii.gz", [1, 3])
    assert measured == {
        "1": {"volume_ml": pytest.approx(0.03), "components": 2},
        "3": {"volume_ml": 0, "components": 0},
    }


def test_values_of_masks_leave_out_background_and_ignore():
    assert mask_values(DATASET) == [1]
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    assert mask_values(regions) == [1, 2]


def test_files_follow_the_contract_and_keep_old_records(tmp_path):
    targets = {target.name: target for target in (MULTICLASS, BINARY, MULTILABEL)}
    by_fold = {"subtype": np.array([[0.25, 0.75]]), "ich": np.array([[0.9]]), "findings": np.array([[0.6, 0.7, 0.1]])}
    prediction = CasePrediction(by_fold, by_fold, 1.5)
    save_mask(tmp_path / "=cmd.nii.gz", np.ones((2, 2, 2)))
    model = {"trainer": "t", "plans": "p", "configuration": "c", "folds": [0], "checkpoint_sha256": {"0": "ff"}}
    write_classification(tmp_path, "classification.json", model, targets, {"=cmd": prediction}, {}, DATASET)
    first = json.loads((tmp_path / "classification.json").read_text())
    check_schema(first, "classification.json", "here")
    assert first["cases"]["=cmd"]["labels"] == {"1": {"volume_ml": pytest.approx(0.08), "components": 1}}
    with (tmp_path / "classification.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case_id"] == "'=cmd"  # no formula for a spreadsheet
    assert row["findings_decision"] == "SAH;SDH"
    assert float(row["subtype_probability_IVH"]) == 0.75

    save_mask(tmp_path / "b.nii.gz", np.zeros((2, 2, 2)))
    write_classification(
        tmp_path, "classification.json", model, targets, {"b": prediction}, first["cases"], DATASET
    )  # fmt: skip
    second = json.loads((tmp_path / "classification.json").read_text())
    assert list(second["cases"]) == ["=cmd", "b"]
    assert second["cases"]["=cmd"] == first["cases"]["=cmd"]
