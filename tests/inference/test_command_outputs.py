"""Every file that the command writes, computed again from the others: masks, records, tables, tiles, slices, spread."""

import csv
import json
import pickle

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.postprocessing import remove_connected_components as postprocessing
from scipy import ndimage
from toy_models import TARGETS

from nnunet_multitask.cli.main import main

VOXEL_ML = 5 * 2 * 2 / 1000


def predict(model, images, output, *options):
    argv = ["predict", "-i", images, "-o", output, "-m", model, "-device", "cpu", "-npp", "0", "-nps", "0"]
    before = torch.get_num_threads()
    assert main([str(word) for word in [*argv, "--disable_progress_bar", *options]]) == 0
    torch.set_num_threads(before)
    return json.loads((output / "classification.json").read_text())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def array_of(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(path))


@pytest.fixture(scope="module")
def predicted(toy_model, toy_images, tmp_path_factory):
    """What the command writes with every option that writes something."""
    output = tmp_path_factory.mktemp("all") / "out"
    options = ["--save-slices", "--save-tiles", "--save_probabilities", "--worklist", "subtype:SAH"]
    return output, predict(toy_model, toy_images, output, *options)


def test_files(predicted):
    output, document = predicted
    of_cases = [f"{case}{ending}" for case in document["cases"] for ending in (".nii.gz", ".npz", ".pkl")]
    of_nnunet = ["dataset.json", "plans.json", "predict_from_raw_data_args.json"]
    ours = ["classification.json", "classification.csv", "worklist.csv", "tiles"]
    assert sorted(path.name for path in output.iterdir()) == sorted([*of_cases, *of_nnunet, *ours])
    assert sorted(path.name for path in (output / "tiles").iterdir()) == ["a.json", "b.json"]


def test_volumes_are_those_of_the_mask(predicted):
    output, document = predicted
    for case_id, case in document["cases"].items():
        mask = array_of(output / f"{case_id}.nii.gz")
        parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert case["labels"]["1"] == {
            "volume_ml": round(np.count_nonzero(mask) * VOXEL_ML, 4),
            "voxels": np.count_nonzero(mask),
            "components": count,
            "largest_component_ml": round(sizes.max() * VOXEL_ML, 4),
        }


def test_probabilities_of_voxels_give_the_mask(predicted):
    output, document = predicted
    for case_id in document["cases"]:
        probabilities = np.load(output / f"{case_id}.npz")["probabilities"]
        assert np.array_equal(probabilities.argmax(axis=0), array_of(output / f"{case_id}.nii.gz"))
        assert pickle.loads((output / f"{case_id}.pkl").read_bytes())["spacing"] == [5, 2, 2]


def test_table_says_what_the_records_say(predicted):
    output, document = predicted
    rows = {row["case_id"]: row for row in rows_of(output / "classification.csv")}
    assert set(rows) == set(document["cases"])
    for case_id, case in document["cases"].items():
        row = rows[case_id]
        for name, target in TARGETS.items():
            record = case["targets"][name]
            assert row[f"{name}_decision"] == record["decision"]
            found = {label: float(row[f"{name}_probability_{label}"]) for label in target["classes"]}
            assert found == record["probabilities"]
        assert float(row["label_1_volume_ml"]) == case["labels"]["1"]["volume_ml"]
        assert int(row["label_1_components"]) == case["labels"]["1"]["components"]
        assert float(row["seconds"]) == case["seconds"] > 0


def test_worklist_is_sorted_by_the_class_that_was_named(predicted):
    output, document = predicted
    rows = rows_of(output / "worklist.csv")
    probability = {
        case_id: case["targets"]["subtype"]["probabilities"]["SAH"] for case_id, case in document["cases"].items()
    }
    assert [row["case_id"] for row in rows] == sorted(probability, key=lambda case_id: -probability[case_id])
    for row in rows:
        assert (row["target"], row["class"], float(row["probability"])) == (
            "subtype",
            "SAH",
            probability[row["case_id"]],
        )
        assert float(row["foreground_ml"]) == document["cases"][row["case_id"]]["labels"]["1"]["volume_ml"]


def test_slices_are_told_by_the_tiles_that_hold_them(predicted):
    output, document = predicted
    for case_id, case in document["cases"].items():
        tiles = json.loads((output / "tiles" / f"{case_id}.json").read_text())["tiles"]
        assert [set(entry) for entry in case["slices"]["subtype"]] == [set(TARGETS["subtype"]["classes"])] * 6
        for index, entry in enumerate(case["slices"]["ich"]):
            here = [t["probabilities"]["ich"]["yes"] for t in tiles if t["box"][0][0] <= index + 0.5 < t["box"][0][1]]
            assert min(here) <= entry["yes"] <= max(here) + 1e-3  # the largest of each fold, then their mean


def test_probability_and_spread_are_those_of_the_folds(predicted, toy_model, toy_images, tmp_path):
    _, document = predicted
    alone = [predict(toy_model, toy_images, tmp_path / fold, "-f", fold)["cases"]["a"]["targets"] for fold in "01"]
    for name, target in TARGETS.items():
        record = document["cases"]["a"]["targets"][name]
        for label in target["classes"]:
            values = [fold[name]["probabilities"][label] for fold in alone]
            assert record["probabilities"][label] == pytest.approx(np.mean(values), abs=2e-6)
            assert record["fold_spread"][label] == pytest.approx(np.std(values), abs=2e-6)
        assert alone[0][name]["fold_spread"] == dict.fromkeys(target["classes"])
        assert min(alone[0][name]["mirror_spread"].values()) > 0


def test_without_mirroring_there_is_no_spread_over_it(toy_model, toy_images, tmp_path):
    document = predict(toy_model, toy_images, tmp_path / "out", "--disable_tta")
    assert document["settings"]["mirroring"] is False
    assert document["cases"]["a"]["targets"]["ich"]["mirror_spread"] == {"no": None, "yes": None}


def test_volumes_follow_nnunets_postprocessing(predicted, tmp_path, capsys):
    output, before = predicted
    arguments = ([postprocessing.remove_all_but_largest_component_from_segmentation], [{"labels_or_regions": 1}])
    postprocessing.apply_postprocessing_to_folder(
        str(output), str(tmp_path / "after"), *arguments, str(output / "plans.json"), str(output / "dataset.json"), 1
    )
    assert main(["volumes", str(tmp_path / "after"), "--predictions", str(output)]) == 0
    after = json.loads((tmp_path / "after" / "classification.json").read_text())
    for case_id, case in after["cases"].items():
        label, old = case["labels"]["1"], before["cases"][case_id]["labels"]["1"]
        assert label["voxels"] == np.count_nonzero(array_of(tmp_path / "after" / f"{case_id}.nii.gz"))
        assert label["components"] == 1
        assert label["volume_ml"] == label["largest_component_ml"] == old["largest_component_ml"]
        assert case["targets"] == before["cases"][case_id]["targets"]  # some of the foreground is still there
