"""What configure --recipe writes, says and refuses."""

import json

import pytest

from nnunet_multitask.cli.main import main

PLANS = {
    "dataset_name": "Dataset007_Toy",
    "plans_name": "nnUNetPlans",
    "transpose_backward": [0, 1, 2],
    "original_median_spacing_after_transp": [5.0, 0.5, 0.5],
    "original_median_shape_after_transp": [30, 512, 512],
    "configurations": {"3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"}},
}


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset007_Toy"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(PLANS))
    scans = {"shapes_after_crop": [[30, 512, 512]] * 200, "spacings": [[5.0, 0.5, 0.5]] * 200}
    (folder / "dataset_fingerprint.json").write_text(json.dumps(scans))
    return folder


def test_plans_are_written_and_the_next_commands_said(dataset, capsys):
    assert main("configure 7 --recipe xiao2025 --name xiao2025 --set detach_features=true --epochs 7".split()) == 0
    written = json.loads((dataset / "xiao2025.json").read_text())
    assert written["multitask"]["recipe"] == "xiao2025"
    assert written["configurations"]["3d_fullres"]["spacing"] == [5.0, 2.0, 2.0]
    assert written["multitask"]["config"]["detach_features"] is True  # an option goes on top of the recipe
    assert written["multitask"]["schedule"]["epochs"] == 7
    said = capsys.readouterr().out
    assert "spacing: 5.0, 2.0, 2.0" in said
    assert "nnUNetv2_preprocess -d 7 -plans_name xiao2025 -c 3d_fullres" in said
    for trainer in ("nnUNetTrainerMultiTask_Xiao2025", "nnUNetTrainerResNet3D"):
        assert f"nnunet-multitask train 7 3d_fullres 0 -p xiao2025 -tr {trainer}" in said


def test_patch_and_batch_go_into_spacing_and_epochs(dataset, capsys):
    argv = "configure 7 --recipe xiao2025 --name small --patch-size 64,256,256 --batch-size 8 --json"
    assert main(argv.split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["spacing"], said["batch_size"]) == ([5.0, 1.0, 1.0], 8)
    assert said["schedule"]["iterations"] == 20


@pytest.mark.parametrize(
    ("damage", "argv", "words"),
    [
        ("dataset_fingerprint.json", [], ["missing-fingerprint", "nnunet-multitask plan -d 7 --no_pp"]),
        (None, ["--patch-size", "100,128,128"], ["bad-patch-size", "use --patch-size 96,128,128"]),
        (None, ["--patch-size", "16,32"], ["bad-patch-size", "three numbers above 0, got 16x32"]),
        (None, ["--patch-size", "0,0,0"], ["bad-patch-size", "three numbers above 0, got 0x0x0"]),
        (None, ["--configuration", "2d"], ["missing-configuration", "3d_fullres", "2d"]),
    ],
)
def test_refusals_write_nothing(dataset, capsys, damage, argv, words):
    if damage:
        (dataset / damage).unlink()
    assert main(["configure", "7", "--recipe", "xiao2025", "--name", "x", *argv]) == 1
    line = capsys.readouterr().err
    assert all(word in line for word in words), line
    assert not (dataset / "x.json").exists()


def test_training_names_the_command_that_preprocesses(dataset, capsys):
    assert main("configure 7 --recipe xiao2025 --name xiao2025".split()) == 0
    assert main("train 7 3d_fullres 0 -p xiao2025 -tr nnUNetTrainerMultiTask_Xiao2025 -device cpu".split()) == 1
    line = capsys.readouterr().err
    assert "missing-preprocessed" in line
    assert "run nnUNetv2_preprocess -d 7 -plans_name xiao2025 -c 3d_fullres" in line
