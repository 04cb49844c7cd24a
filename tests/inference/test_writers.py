import csv
import json

import nibabel
import numpy as np
import pytest

from nnunet_multitask.documents import check_schema
from nnunet_multitask.evaluation.predictions import read_classification
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.writers import write_classification
from nnunet_multitask.labels import Target

MULTICLASS = Target("subtype", "multiclass", ("IPH", "IVH"))
BINARY = Target("ich", "binary", ("no", "yes"))
MULTILABEL = Target("findings", "multilabel", ("SAH", "SDH", "EDH"))
DATASET = {"labels": {"background": 0, "blood": 1, "ignore": 2}, "file_ending": ".nii.gz"}


def save_mask(path, array, spacing=(1.0, 2.0, 5.0)):
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1])), path)


def test_files_follow_the_contract_and_keep_old_records(tmp_path):
    targets = {target.name: target for target in (MULTICLASS, BINARY, MULTILABEL)}
    by_fold = {"subtype": np.array([[0.25, 0.75]]), "ich": np.array([[0.9]]), "findings": np.array([[0.6, 0.7, 0.1]])}
    prediction = CasePrediction(by_fold, by_fold, 1.5)
    save_mask(tmp_path / "=cmd.nii.gz", np.ones((2, 2, 2)))
    model = {"trainer": "t", "plans": "p", "configuration": "c", "folds": [0], "checkpoint_sha256": {"0": "ff"}}
    write_classification(tmp_path, "classification.json", model, targets, {"=cmd": prediction}, {}, DATASET)
    first = json.loads((tmp_path / "classification.json").read_text())
    check_schema(first, "classification.json", "here")
    assert first["cases"]["=cmd"]["labels"]["1"]["volume_ml"] == pytest.approx(0.08)
    assert first["cases"]["=cmd"]["targets"]["ich"]["mask_agreement"] == {"agrees": True, "classes": {"yes": "both"}}
    assert read_classification(tmp_path / "classification.json").cases["=cmd"]["findings"].decision == ("SAH", "SDH")
    with (tmp_path / "classification.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case_id"] == "'=cmd"  # no formula for a spreadsheet
    assert row["findings_decision"] == "SAH;SDH"
    assert row["ich_mask_agreement"] == "agrees"
    assert row["subtype_mask_agreement"] == ""
    assert (row["label_1_components"], row["label_1_largest_component_ml"]) == ("1", "0.0800")
    assert float(row["subtype_probability_IVH"]) == 0.75

    save_mask(tmp_path / "b.nii.gz", np.zeros((2, 2, 2)))
    write_classification(
        tmp_path, "classification.json", model, targets, {"b": prediction}, first["cases"], DATASET
    )  # fmt: skip
    second = json.loads((tmp_path / "classification.json").read_text())
    assert list(second["cases"]) == ["=cmd", "b"]
    assert second["cases"]["=cmd"] == first["cases"]["=cmd"]
