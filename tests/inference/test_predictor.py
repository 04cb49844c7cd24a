"""Files in, files out: masks as nnU-Net writes them, and what is said of their classes."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
from nnunetv2.inference import export_prediction, predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from toy_models import make_images, make_model

from nnunet_multitask import environment
from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.predictions import read_classification
from nnunet_multitask.inference.exporting import exporting

CALIBRATION = {
    "version": 1,
    "fitted_on": {"cases": 20, "folds": [0, 1]},
    "targets": {
        "ich": {"type": "binary", "classes": ["no", "yes"], "temperature": 2.0, "thresholds": {"low": 0.0, "high": 1.0}}
    },
}


def read(folder):
    document = json.loads((folder / "classification.json").read_text())
    check_schema(document, "classification.json", folder)
    return document


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def stock(toy_model, toy_images, tmp_path_factory):
    """The masks of nnU-Net's own predictor."""
    environment.activate()
    output = tmp_path_factory.mktemp("stock")
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(toy_model), (0, 1))
    predictor.predict_from_files_sequential(str(toy_images), str(output), save_probabilities=True)
    return output


@pytest.mark.parametrize("processes", [0, 1])
def test_masks_are_nnunets_to_the_byte_and_nothing_is_left_over(
    toy_model, toy_images, stock, predictor_of, tmp_path, processes
):
    predictor = predictor_of(toy_model)
    if processes:
        records = predictor.predict_from_files(str(toy_images), str(tmp_path), True, True, 1, 1)
        assert [set(record["targets"]) for record in records] == [{"ich", "subtype"}] * 2
    else:
        predictor.predict_from_files_sequential(str(toy_images), str(tmp_path), True)
    for case_id in ("a", "b"):
        assert (tmp_path / f"{case_id}.nii.gz").read_bytes() == (stock / f"{case_id}.nii.gz").read_bytes()
        arrays = [np.load(folder / f"{case_id}.npz")["probabilities"] for folder in (tmp_path, stock)]
        assert np.array_equal(*arrays)
    assert names(tmp_path) == sorted([*names(stock), "classification.csv", "classification.json", "worklist.csv"])
    document = read(tmp_path)
    assert document["settings"]["aggregation"] == {"ich": "max", "subtype": "lesion"}
    assert document["settings"]["mirroring"] is True
    assert set(document["cases"]) == {"a", "b"}
    for record in document["cases"].values():
        assert record["targets"]["ich"]["fold_spread"]["yes"] > 0
        assert record["targets"]["ich"]["mirror_spread"]["yes"] > 0
        assert sum(record["targets"]["subtype"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["targets"]["ich"]["mask_agreement"]["classes"]["yes"] in ("both", "mask_only")
        assert record["labels"]["1"]["voxels"] > 0
    with (tmp_path / "worklist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["target"] for row in rows] == ["ich", "ich"]
    assert float(rows[0]["probability"]) >= float(rows[1]["probability"])
    assert set(read_classification(tmp_path / "classification.json").cases) == {"a", "b"}


def test_nnunet_looks_its_export_up_where_ours_is_put():
    assert predict_from_raw_data.export_prediction_from_logits is export_prediction.export_prediction_from_logits
    with exporting() as hand_over:
        hand_over(None)
        assert predict_from_raw_data.export_prediction_from_logits.args == (None,)
    assert predict_from_raw_data.export_prediction_from_logits is export_prediction.export_prediction_from_logits


def test_aggregation_changes_the_case_and_is_recorded(toy_model, toy_images, predictor_of, tmp_path):
    found = {}
    for name in ("max", "mean", "topk"):
        predictor = predictor_of(toy_model, aggregation=[f"ich={name}"])
        predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / name))
        document = read(tmp_path / name)
        assert document["settings"]["aggregation"] == {"ich": name, "subtype": "lesion"}
        found[name] = document["cases"]["a"]["targets"]["ich"]["probabilities"]["yes"]
    assert found["max"] > found["topk"] > found["mean"]


def test_tiles_and_slices_on_request(toy_model, toy_images, predictor_of, tmp_path):
    predictor = predictor_of(toy_model, aggregation=["mean"], save_slices=True, save_tiles=True)
    predictor.predict_from_files_sequential(str(toy_images), str(tmp_path))
    case = read(tmp_path)["cases"]["a"]
    tiles = json.loads((tmp_path / "tiles" / "a.json").read_text())["tiles"]
    boxes = np.array([tile["box"] for tile in tiles])
    assert (boxes[:, :, 0].min(axis=0).tolist(), boxes[:, :, 1].max(axis=0).tolist()) == ([0, 0, 0], [6, 16, 20])
    of_tiles = [tile["probabilities"]["ich"]["yes"] for tile in tiles]
    assert case["targets"]["ich"]["probabilities"]["yes"] == pytest.approx(np.mean(of_tiles), abs=2e-6)
    values = [entry["yes"] for entry in case["slices"]["ich"]]
    first = np.mean([p for p, box in zip(of_tiles, boxes, strict=True) if box[0, 0] == 0])  # tiles at 0 and 2, 4 deep
    last = np.mean([p for p, box in zip(of_tiles, boxes, strict=True) if box[0, 0] == 2])
    assert values == pytest.approx([first, first, *[(first + last) / 2] * 2, last, last], abs=2e-6)
    read_back = read_classification(tmp_path / "classification.json").cases["a"]["ich"]
    assert [entry["yes"] for entry in read_back.slices] == values
    assert sum(tile["importance_voxels"] for tile in tiles) == pytest.approx(6 * 16 * 20, abs=0.1)


def test_slices_of_a_2d_model_are_its_own_tiles(predictor_of, tmp_path):
    model = make_model(tmp_path / "nnUNetTrainerMultiTask__toy__2d", dimensions=2, folds=1, mirroring=None)
    images = make_images(tmp_path / "images", ("a",), (3, 8, 8))  # one tile a slice
    predictor = predictor_of(model, save_slices=True)
    predictor.predict_from_files_sequential(str(images), str(tmp_path / "out"))
    case = read(tmp_path / "out")["cases"]["a"]
    values = [entry["yes"] for entry in case["slices"]["ich"]]
    assert len(values) == 3
    assert case["targets"]["ich"]["probabilities"]["yes"] == max(values)
    assert case["targets"]["ich"]["fold_spread"] == case["targets"]["ich"]["mirror_spread"] == {"no": None, "yes": None}


@pytest.fixture(scope="module")
def calibrated(toy_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated") / toy_model.name
    shutil.copytree(toy_model, folder)
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    return folder


def test_calibration_of_the_model_is_applied_unless_it_is_switched_off(calibrated, toy_images, predictor_of, tmp_path):
    found = {}
    for name, options in {"on": {"operating_points": ["high"]}, "off": {"calibrate": False}}.items():
        predictor_of(calibrated, **options).predict_from_files_sequential(str(toy_images), str(tmp_path / name))
        found[name] = read(tmp_path / name)["cases"]["a"]["targets"]
    plain, scaled = found["off"]["ich"], found["on"]["ich"]
    logit = np.log(plain["probabilities"]["yes"] / plain["probabilities"]["no"])
    assert scaled["probabilities"]["yes"] == pytest.approx(1 / (1 + np.exp(-logit / 2)), abs=1e-5)
    assert (scaled["calibrated"], scaled["threshold"], scaled["operating_point"]) == (True, 1.0, "high")
    assert (scaled["decision"], plain["calibrated"], plain["operating_point"]) == ("no", False, None)
    assert found["on"]["subtype"] == found["off"]["subtype"]
    assert found["on"]["subtype"]["calibrated"] is False


def test_gate_clears_the_masks_of_negative_cases_and_says_what_was_there(
    calibrated, toy_images, stock, predictor_of, tmp_path
):
    for name, rule in (("closed", "high"), ("open", "low")):
        predictor = predictor_of(calibrated, operating_points=[f"ich={rule}"], gate="ich")
        predictor.predict_from_files_sequential(str(toy_images), str(tmp_path / name))
    case = read(tmp_path / "closed")["cases"]["a"]
    mask, whole = (nibabel.load(folder / "a.nii.gz") for folder in (tmp_path / "closed", stock))
    assert case["gated"] is True
    assert not np.asarray(mask.dataobj).any()
    assert np.array_equal(mask.affine, whole.affine)
    assert case["labels"]["1"]["voxels"] == 0
    assert case["labels_before_gate"]["1"]["voxels"] == np.count_nonzero(np.asarray(whole.dataobj))
    assert case["targets"]["ich"]["mask_agreement"] == {"agrees": False, "classes": {"yes": "mask_only"}}
    with (tmp_path / "closed" / "classification.csv").open(newline="") as file:
        assert [row["gated"] for row in csv.DictReader(file)] == ["yes", "yes"]
    opened = read(tmp_path / "open")["cases"]["a"]
    assert opened["gated"] is False
    assert "labels_before_gate" not in opened
    assert (tmp_path / "open" / "a.nii.gz").read_bytes() == (stock / "a.nii.gz").read_bytes()


def test_a_calibration_holds_for_the_aggregation_of_the_model(calibrated, predictor_of):
    with pytest.raises(InputError, match=r"\[other-aggregation\] .*target ich: expected max, .*got mean.*--no-cal"):
        predictor_of(calibrated, aggregation=["mean"])
    assert predictor_of(calibrated, aggregation=["mean"], calibrate=False).aggregations["ich"] == "mean"
    assert predictor_of(calibrated, aggregation=["subtype=mean"]).aggregations["subtype"] == "mean"  # not calibrated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "ich"}, r"\[missing-calibration\] --gate ich"),
        ({"operating_points": ["youden"]}, r"\[missing-calibration\] --operating-point youden"),
        ({"worklist": "subtype"}, r"\[missing-class\]"),
    ],
)
def test_what_needs_more_is_refused_before_anything_is_predicted(toy_model, predictor_of, options, message):
    with pytest.raises(InputError, match=message):
        predictor_of(toy_model, **options)
