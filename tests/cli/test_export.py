"""A model exported for stock nnU-Net, and predicted with where this package is not."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
import SimpleITK
import torch
from payloads import poison
from toy_models import make_images, make_model

from nnunet_multitask import environment
from nnunet_multitask.cli.main import main

FINAL = "checkpoint_final.pth"
NAME = "nnUNetTrainer__toy__3d_fullres"

# the environment has this package, mostly as a link that site makes: neither is to be found
WITHOUT_PACKAGE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nnunet_multitask":
            raise ModuleNotFoundError(f"{name} is not here")

sys.meta_path.insert(0, Absent())
try:
    import nnunet_multitask
except ModuleNotFoundError:
    print("without the package")
from nnunetv2.inference import predict_from_raw_data
getattr(predict_from_raw_data, sys.argv.pop(1))()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("toy") / "Dataset999_Toy" / "nnUNetTrainerMultiTask__toy__3d_fullres")
    (folder / "dataset_fingerprint.json").write_text('{"spacings": []}')
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("toy") / "images")


@pytest.fixture(scope="module")
def predicted(model, images, tmp_path_factory):
    """The masks of the joint model, in a process with as many threads as the stock command has."""
    output = tmp_path_factory.mktemp("toy") / "joint"
    program = [sys.executable, "-m", "nnunet_multitask.cli.main", "predict"]
    options = ["-m", str(model), "-i", str(images), "-o", str(output), "-npp", "0", "-nps", "0", "-device", "cpu"]
    subprocess.run([*program, *options], check=True, stdin=subprocess.DEVNULL)
    return output


def export(model, results, *options):
    return main([str(word) for word in ("export", "--seg-only", "-m", model, "-o", results, *options)])


def run_without_package(folder, program, *arguments, **variables):
    """Run a command of nnU-Net where this package cannot be imported, and return what it printed."""
    hidden = ("PYTHONPATH", environment.VARIABLE)
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-S", "-c", WITHOUT_PACKAGE, program, *map(str, arguments)],
        env={**kept, "PYTHONPATH": sysconfig.get_path("purelib"), **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_stock_nnunet_predicts_the_same_masks_without_this_package(model, images, predicted, tmp_path, capsys):
    assert export(model, tmp_path / "results") == 0
    said = capsys.readouterr().out
    assert f"written: {tmp_path / 'results' / 'Dataset999_Toy' / NAME}, folds 0 1" in said
    options = "-d Dataset999_Toy -c 3d_fullres -p toy -f 0 1".split()
    assert f"nnUNet_results={tmp_path / 'results'} nnUNetv2_predict {' '.join(options)} -i IMAGES -o MASKS" in said
    options += ["-i", images, "-o", tmp_path / "out", "-npp", "1", "-nps", "1", "-device", "cpu"]
    variables = {"nnUNet_results": str(tmp_path / "results"), "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    printed = run_without_package(tmp_path, "predict_entry_point", *options, **variables)
    assert "without the package" in printed
    for case_id in ("a", "b"):
        mask = predicted / f"{case_id}.nii.gz"
        assert (tmp_path / "out" / mask.name).read_bytes() == mask.read_bytes()
        assert 0 < np.mean(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(mask)))) < 1


def test_nothing_is_left_but_the_segmentation(model, tmp_path, capsys):
    assert export(model, tmp_path, "-f", "1", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    folder = tmp_path / "Dataset999_Toy" / NAME
    assert said["output"] == str(folder)
    assert (said["model"], said["folds"]) == (str(model), [1])
    assert {name.split(".")[0] for name in said["left"]} == {"fusion", "heads"}
    files = ["dataset.json", "dataset_fingerprint.json", f"fold_1/{FINAL}", "plans.json"]
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == files
    plans = json.loads((folder / "plans.json").read_text())
    before = json.loads((model / "plans.json").read_text())
    assert {**plans, "multitask": before["multitask"]} == before
    for name in ("dataset.json", "dataset_fingerprint.json"):
        assert json.loads((folder / name).read_text()) == json.loads((model / name).read_text())
    source = torch.load(model / "fold_1" / FINAL, weights_only=True)
    written = torch.load(folder / "fold_1" / FINAL, weights_only=True)  # without anything that must be allowed first
    assert {name.split(".")[0] for name in written["network_weights"]} == {"encoder", "decoder"}
    assert set(source["network_weights"]) == {*written["network_weights"], *said["left"]}
    assert all(torch.equal(value, source["network_weights"][key]) for key, value in written["network_weights"].items())
    assert written["trainer_name"] == "nnUNetTrainer"
    assert written["init_args"]["plans"] == plans
    assert written["init_args"]["configuration"] == "3d_fullres"
    assert written["inference_allowed_mirroring_axes"] == source["inference_allowed_mirroring_axes"] == (0,)
    assert written["exported_from"]["trainer"] == "nnUNetTrainerMultiTask"


def test_a_chosen_checkpoint_of_all_cases_becomes_the_one_that_stock_commands_open(model, tmp_path):
    (model / "fold_all").mkdir()
    shutil.copy(model / "fold_0" / FINAL, model / "fold_all" / "checkpoint_best.pth")
    assert export(model, tmp_path, "-f", "all", "-chk", "checkpoint_best.pth") == 0
    assert (tmp_path / "Dataset999_Toy" / NAME / "fold_all" / FINAL).is_file()
    shutil.rmtree(model / "fold_all")


def refusal(capsys, model, results, *options):
    assert export(model, results, *options) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_only_an_earlier_export_is_replaced(model, tmp_path, capsys):
    assert export(model, tmp_path) == 0
    folder = tmp_path / "Dataset999_Toy" / NAME
    line = refusal(capsys, model, tmp_path, "-f", "0")
    assert (
        line == f"ERROR [already-exists] {folder}: expected no such folder, found one -> use --overwrite to replace it"
    )
    assert export(model, tmp_path, "-f", "0", "--overwrite") == 0
    assert not (folder / "fold_1").exists()
    (folder / "fold_0" / "training_log.txt").touch()  # a model that somebody has trained
    line = refusal(capsys, model, tmp_path, "--overwrite")
    assert f"[already-exists] {folder}: expected nothing or an earlier export, got a folder with other files" in line
    assert (folder / "fold_0" / "training_log.txt").is_file()
    assert [path.name for path in folder.parent.iterdir()] == [NAME]


def test_a_failed_writing_leaves_nothing(model, tmp_path, capsys, monkeypatch):
    def full_disk(content, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    assert "[cannot-write]" in refusal(capsys, model, tmp_path)
    assert not list((tmp_path / "Dataset999_Toy").iterdir())


def only_classifies(model):
    path = model / "fold_1" / FINAL
    checkpoint = torch.load(path, weights_only=True)
    weights = checkpoint["network_weights"]
    checkpoint["network_weights"] = {key: value for key, value in weights.items() if not key.startswith("decoder.")}
    torch.save(checkpoint, path)


def other_decoder(model):
    path = model / "fold_1" / FINAL
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["network_weights"]["decoder.gate.weight"] = torch.ones(1)
    torch.save(checkpoint, path)


def climbing_name(model):
    plans = json.loads((model / "plans.json").read_text())
    (model / "plans.json").write_text(json.dumps({**plans, "dataset_name": "../outside"}))


def truncate(model):
    path = model / "fold_1" / FINAL
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("damage", "options", "words"),
    [
        (only_classifies, [], ["no-segmentation", "fold_1", "which only classifies"]),
        (other_decoder, [], ["other-network", "fold_1", "with decoder.gate.weight"]),
        (climbing_name, [], ["bad-name", "plans.json", "'../outside'"]),
        (truncate, [], ["unreadable-checkpoint", "fold_1", "copy it again"]),
        (None, ["-f", "2"], ["missing-checkpoint", "fold_2"]),
        (None, ["-f", "one"], ["bad-fold", "'one'"]),
        (None, ["-chk", "nope.pth"], ["missing-checkpoint", "nope.pth"]),
    ],
)
def test_refusals_write_nothing(model, tmp_path, capsys, damage, options, words):
    copy = shutil.copytree(model, tmp_path / "Dataset999_Toy" / model.name)
    if damage is not None:
        damage(copy)
    line = refusal(capsys, copy, tmp_path / "results", *options)
    assert all(word in line for word in words), line
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "outside").exists()


def test_a_payload_does_not_run(model, tmp_path, capsys, caplog):
    copy = shutil.copytree(model, tmp_path / "Dataset999_Toy" / model.name)
    file = poison(copy / "fold_1" / FINAL, tmp_path / "made")
    line = refusal(capsys, copy, tmp_path / "results")
    assert f"[unsafe-checkpoint] {file}: expected tensors and plain values, got os.makedirs" in line
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "results").exists()
    assert export(copy, tmp_path / "results", "--trust-checkpoint") == 0
    assert (tmp_path / "made").exists()
    assert "with your rights" in caplog.text
    for path in (tmp_path / "results").rglob("*.pth"):  # what was hidden is not handed on
        torch.load(path, weights_only=True)


def test_whole_models_are_nnunets_to_pack(model, tmp_path, capsys):
    assert main(["export", "-m", str(model), "-o", str(tmp_path / "out")]) == 1
    line = capsys.readouterr().err
    assert "[only-segmentation]" in line
    assert "nnUNetv2_export_model_to_zip" in line
    assert not (tmp_path / "out").exists()
