"""Ensembles of toy models, 2d and 3d: masks as nnU-Net's own command makes them, and the mean of the classes."""

import csv
import json
import multiprocessing
import shutil
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.ensembling.ensemble import ensemble_folders
from toy_models import make_model

from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.inference.ensembling import ensemble, join_documents
from nnunet_multitask.inference.members import read_members


@pytest.fixture(scope="module", autouse=True)
def threads():
    """Threads take the place of nnU-Net's processes, which take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=ThreadPool))
        yield


def read(folder):
    document = json.loads((folder / "classification.json").read_text())
    check_schema(document, "classification.json", folder)
    return document


@pytest.fixture(scope="module")
def predictions(toy_model, toy_images, tmp_path_factory):
    """Folders of a 3d and a 2d model."""
    import torch

    from nnunet_multitask.inference.predictor import MultiTaskPredictor

    folder = tmp_path_factory.mktemp("members")
    flat = make_model(folder / "nnUNetTrainerMultiTask__toy__2d", dimensions=2, folds=1, mirroring=None)
    for name, model in (("3d", toy_model), ("2d", flat)):
        predictor = MultiTaskPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(model)
        predictor.predict_from_files_sequential(str(toy_images), str(folder / name), save_probabilities=True)
    return folder


@pytest.fixture
def members(predictions, tmp_path):
    """Copies of both folders, to be damaged."""
    for name in ("3d", "2d"):
        shutil.copytree(predictions / name, tmp_path / name)
    return [tmp_path / "3d", tmp_path / "2d"]


@pytest.fixture(scope="module")
def joint(predictions):
    """The ensemble of both, and the folder that nnU-Net's function makes of them."""
    members = [predictions / "3d", predictions / "2d"]
    ensemble(members, predictions / "joint", save_probabilities=True, num_processes=1)
    ensemble_folders([str(member) for member in members], str(predictions / "stock"), True, 1)
    return predictions / "joint", predictions / "stock"


def test_masks_are_nnunets_to_the_byte(joint):
    ours, stock = joint
    for case_id in ("a", "b"):
        assert (ours / f"{case_id}.nii.gz").read_bytes() == (stock / f"{case_id}.nii.gz").read_bytes()
        arrays = [np.load(folder / f"{case_id}.npz")["probabilities"] for folder in joint]
        assert np.array_equal(*arrays)
    extra = {"classification.json", "classification.csv", "worklist.csv", "plans.json"}
    assert {p.name for p in ours.iterdir()} == {p.name for p in stock.iterdir()} | extra


def test_classes_are_the_mean_and_the_rest_is_that_of_the_joint_mask(joint, predictions):
    document = read(joint[0])
    parts = [read(predictions / name) for name in ("3d", "2d")]
    for case_id, case in document["cases"].items():
        for name in ("ich", "subtype"):
            record = case["targets"][name]
            of_members = [part["cases"][case_id]["targets"][name]["probabilities"] for part in parts]
            for class_name, p in record["probabilities"].items():
                values = [of_member[class_name] for of_member in of_members]
                assert p == pytest.approx(sum(values) / 2, abs=1e-6)
                assert record["member_spread"][class_name] == pytest.approx(abs(values[0] - values[1]) / 2, abs=1e-6)
            assert record["member_probabilities"] == of_members
            assert (record["calibrated"], record["operating_point"]) == (False, None)
        ich = case["targets"]["ich"]
        assert ich["decision"] == ("yes" if ich["probabilities"]["yes"] >= 0.5 else "no")
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(joint[0] / f"{case_id}.nii.gz")))
        assert case["labels"]["1"]["voxels"] == np.count_nonzero(mask)
        assert case["labels"]["1"]["volume_ml"] == pytest.approx(np.count_nonzero(mask) * 0.02, abs=1e-4)
        told = "both" if ich["decision"] == "yes" else "mask_only"
        assert ich["mask_agreement"]["classes"]["yes"] == (told if mask.any() else "neither")
    assert [member["configuration"] for member in document["model"]["ensemble"]] == ["3d_fullres", "2d"]
    with (joint[0] / "worklist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case_id"] for row in rows] == sorted(
        document["cases"], key=lambda c: -document["cases"][c]["targets"]["ich"]["probabilities"]["yes"]
    )


def test_weights_by_hand(members):
    document = join_documents(read_members(members), [3, 1])
    record = document["cases"]["a"]["targets"]["ich"]
    first, second = (p["yes"] for p in record["member_probabilities"])
    assert record["probabilities"]["yes"] == pytest.approx((3 * first + second) / 4, abs=1e-6)
    assert document["settings"] == {"weights": [3.0, 1.0]}


def test_stock_folder_takes_part_in_the_masks_alone(members, joint, tmp_path):
    (members[1] / "classification.json").unlink()
    with pytest.raises(InputErrors, match=r"\[no-classification\] .*2d: expected classification.json.*--stock"):
        ensemble(members, tmp_path / "out")
    document = ensemble(members[:1], tmp_path / "out", stock=members[1:], num_processes=1)
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == (joint[0] / "a.nii.gz").read_bytes()
    assert [m["takes_part_in"] for m in document["model"]["ensemble"]] == [["classes", "masks"], ["masks"]]
    record = document["cases"]["a"]["targets"]["ich"]
    assert record["probabilities"] == read(members[0])["cases"]["a"]["targets"]["ich"]["probabilities"]
    assert record["member_spread"] == {"no": None, "yes": None}


def test_model_that_only_classifies_takes_part_in_the_classes_alone(members, edit, tmp_path):
    edit(members[1] / "classification.json", lambda d: [case.update(labels={}) for case in d["cases"].values()])
    for path in members[1].glob("*.np[yz]"):
        path.unlink()
    with pytest.raises(InputErrors, match=r"\[no-masks\]"):
        ensemble([members[1], _copy(members[1], tmp_path / "again")], tmp_path / "out")
    document = ensemble(members, tmp_path / "out", weights=[3, 1], num_processes=1)
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == (members[0] / "a.nii.gz").read_bytes()
    assert [m["takes_part_in"] for m in document["model"]["ensemble"]] == [["classes", "masks"], ["classes"]]
    assert len(document["cases"]["a"]["targets"]["ich"]["member_probabilities"]) == 2


def test_calibrated_members_make_no_calibrated_ensemble(members, edit, tmp_path):
    def calibrate(document):
        for case in document["cases"].values():
            case["targets"]["ich"].update(calibrated=True, threshold=0.99, operating_point="youden")

    edit(members[0] / "classification.json", calibrate)
    with pytest.raises(InputErrors, match=r"\[calibration-differs\] .*--no-calibration"):
        ensemble(members, tmp_path / "out")
    edit(members[1] / "classification.json", calibrate)
    record = join_documents(read_members(members))["cases"]["a"]["targets"]["ich"]
    assert (record["calibrated"], record["members_calibrated"]) == (False, True)
    assert (record["threshold"], record["operating_point"]) == (0.5, None)


def test_out_of_fold_tables_stay_out_of_fold(members, edit):
    def validation(document):
        for number, case in enumerate(document["cases"].values()):
            case.update(fold=number, reference={"ich": "yes"})

    for member in members:
        edit(member / "classification.json", validation)
    cases = join_documents(read_members(members))["cases"]
    assert [(case["fold"], case["reference"]) for case in cases.values()] == [(0, {"ich": "yes"}), (1, {"ich": "yes"})]
    edit(members[1] / "classification.json", lambda d: d["cases"]["a"].update(fold=5))
    cases = join_documents(read_members(members))["cases"]
    assert "fold" not in cases["a"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "a.npz").unlink(), r"\[no-probabilities\] .*got none of a -> "),
        (lambda d: (d / "a.pkl").unlink(), r"\[missing-file\] .*a\.pkl"),
        (lambda d: (d / "a.npz").write_bytes(b"no zip"), r"\[damaged-probabilities\] .*a\.npz"),
        (lambda d: (d / "plans.json").unlink(), r"\[missing-file\] .*plans\.json"),
        (lambda d: shutil.copy(d / "a.npz", d / "c.npz"), r"\[cases-differ\] .*alone, got some of c"),
        (lambda d: np.savez(d / "a.npz", probabilities=np.zeros((2, 6, 16, 21))), r"\[geometry-differs\] .*a\.npz"),
        (lambda d: _move(d / "a.nii.gz"), r"\[geometry-differs\] .*a\.nii\.gz"),
    ],
)
def test_damaged_members_are_refused(members, tmp_path, damage, message):
    damage(members[1])
    with pytest.raises(InputErrors, match=message):
        ensemble(members, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("classification.json", lambda d: d["cases"].pop("a"), r"\[cases-differ\] .*got others: a"),
        ("classification.json", lambda d: d["targets"]["ich"].update(classes=["yes", "no"]), r"\[targets-differ\]"),
        ("classification.json", lambda d: d["cases"].clear(), r"\[no-cases\]"),
        ("dataset.json", lambda d: d["labels"].update(other=2), r"\[labels-differ\] .*expected labels"),
        ("dataset.json", lambda d: d.update(file_ending=".nrrd"), r"\[labels-differ\] .*file_ending"),
    ],
)
def test_members_of_another_task_are_refused(members, edit, tmp_path, file, change, message):
    edit(members[1] / file, change)
    with pytest.raises(InputErrors, match=message):
        ensemble(members, tmp_path / "out")


def test_arguments_that_cannot_be_are_refused(members, tmp_path):
    def refused(message, folders, output=tmp_path / "out", **options):
        with pytest.raises((InputError, InputErrors), match=message):
            ensemble(folders, output, **options)

    refused(r"\[too-few-members\]", members[:1])
    refused(r"\[too-few-members\]", [], stock=members)
    refused(r"\[given-twice\]", [members[0], members[0]])
    refused(r"\[bad-weights\] .*2 numbers", members, weights=[1])
    refused(r"\[bad-weights\]", members, weights=[1, 0])
    refused(r"\[output-is-input\]", members, members[0], overwrite=True)
    refused(r"\[output-is-input\]", members, tmp_path, overwrite=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    refused(r"\[already-exists\]", members)
    refused(r"\[already-exists\] .*expected an earlier ensemble", members, overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").exists()


def _copy(source, destination):
    shutil.copytree(source, destination)
    return destination


def _move(path):
    image = sitk.ReadImage(str(path))
    image.SetOrigin((50.0, 0.0, 0.0))
    sitk.WriteImage(image, str(path))
