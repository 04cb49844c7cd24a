"""Masks are measured anew after nnU-Net's postprocessing."""

import json

import nibabel
import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.postprocessing.remove_connected_components import (
    load_postprocess_save,
    remove_all_but_largest_component_from_segmentation,
)

from nnunet_multitask.cli.main import main

BOTH = {"agrees": True, "classes": {"yes": "both"}}


def record(decision, labels, **more):
    target = {"probabilities": {"no": 0.4, "yes": 0.6}, "decision": decision, "mask_agreement": BOTH}
    return {"targets": {"ich": target}, "labels": labels, "seconds": 1.0, **more}


@pytest.fixture
def predictions(tmp_path):
    """Two predicted cases: two lesions of 4 and 1 voxels of 10 mm3, and a mask that a gate has cleared."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[0, 0, :4] = mask[5, 5, 5] = 1
    for name, array in (("a", mask), ("b", mask * 0)):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 2, 5, 1])), folder / f"{name}.nii.gz")
    measured = {"1": {"volume_ml": 0.05, "voxels": 5, "components": 2, "largest_component_ml": 0.04}}
    none = {"1": {"volume_ml": 0.0, "voxels": 0, "components": 0, "largest_component_ml": 0.0}}
    document = {
        "version": 1,
        "targets": {"ich": {"type": "binary", "classes": ["no", "yes"]}},
        "cases": {"a": record("yes", measured), "b": record("no", none, gated=True, labels_before_gate=measured)},
    }
    (folder / "classification.json").write_text(json.dumps(document))
    labels = {"background": 0, "blood": 1}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    return folder


def test_volumes_are_those_of_the_postprocessed_masks(predictions, tmp_path, capsys):
    output = tmp_path / "postprocessed"
    output.mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        rule, options = [remove_all_but_largest_component_from_segmentation], [{"labels_or_regions": 1}]
        load_postprocess_save(str(predictions / name), str(output / name), SimpleITKIO(), rule, options)
    assert main(["volumes", str(output), "--predictions", str(predictions)]) == 0
    assert "2 masks measured" in capsys.readouterr().out
    before, after = (json.loads((folder / "classification.json").read_text()) for folder in (predictions, output))
    assert after["cases"]["a"]["labels"]["1"] == {
        "volume_ml": 0.04, "voxels": 4, "components": 1, "largest_component_ml": 0.04,
    }  # fmt: skip
    assert after["cases"]["a"]["targets"] == before["cases"]["a"]["targets"]
    assert after["cases"]["b"] == before["cases"]["b"]
    assert "a,ich,yes,0.600000,no,yes,0.0400,agrees" in (output / "worklist.csv").read_text().splitlines()
    assert (output / "classification.csv").is_file()


def test_agreement_follows_the_mask(predictions):
    empty = nibabel.Nifti1Image(np.zeros((6, 6, 6), np.uint8), np.diag([1.0, 2, 5, 1]))
    nibabel.save(empty, predictions / "a.nii.gz")
    assert main(["volumes", str(predictions)]) == 0
    cases = json.loads((predictions / "classification.json").read_text())["cases"]
    assert cases["a"]["targets"]["ich"]["mask_agreement"] == {"agrees": False, "classes": {"yes": "class_only"}}
    assert cases["b"]["targets"]["ich"]["mask_agreement"] == BOTH  # judged by the mask before the gate


def test_missing_and_damaged_masks_are_named_and_nothing_is_written(predictions, capsys):
    before = (predictions / "classification.json").read_text()
    (predictions / "a.nii.gz").unlink()
    (predictions / "b.nii.gz").write_bytes(b"no mask")
    assert main(["volumes", str(predictions)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "a.nii.gz" in lines[0]
    assert "b.nii.gz" in lines[1]
    assert (predictions / "classification.json").read_text() == before


def test_model_that_only_classifies_has_nothing_to_measure(predictions, capsys, edit):
    edit(predictions / "classification.json", lambda d: [case.update(labels={}) for case in d["cases"].values()])
    assert main(["volumes", str(predictions)]) == 1
    assert "ERROR [no-volumes]" in capsys.readouterr().err


def test_masks_without_a_classification_ask_for_the_folder_of_the_prediction(tmp_path, capsys):
    assert main(["volumes", str(tmp_path)]) == 1
    assert "[no-classification]" in (err := capsys.readouterr().err)
    assert "name the folder of the prediction by --predictions" in err
