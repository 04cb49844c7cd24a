"""What train, predict and configure say before nnU-Net is loaded."""

import json

import pytest

from nnunet_multitask.cli.main import main

PLANS = {
    "plans_name": "nnUNetPlans",
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "batch_size": 2,
            "patch_size": [16, 64, 64],
            "architecture": {
                "arch_kwargs": {
                    "n_stages": 3,
                    "features_per_stage": [32, 64, 128],
                    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                }
            },
        }
    },
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    dataset = tmp_path / "nnUNet_preprocessed" / "Dataset007_Toy"
    dataset.mkdir()
    (dataset / "nnUNetPlans.json").write_text(json.dumps(PLANS))
    (dataset / "nnUNetPlans_3d_fullres").mkdir()
    (dataset / "nnUNetPlans_3d_fullres" / "case.b2nd").touch()
    return tmp_path


def refusal(capsys, *argv):
    """Return the one line with which a command refuses its input."""
    assert main([str(word) for word in argv]) == 1
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert out == ""
    assert len(lines) == 1, err
    assert lines[0].startswith("ERROR [")
    return lines[0]


@pytest.mark.parametrize("variable", ["nnUNet_preprocessed", "nnUNet_results"])
def test_train_names_the_unset_variable(folders, monkeypatch, capsys, variable):
    monkeypatch.delenv(variable)
    line = refusal(capsys, "train", "7", "3d_fullres", "0")
    assert "[unset-variable]" in line
    assert f"export {variable}=" in line


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["8", "3d_fullres", "0"], ["missing-dataset", "Dataset007_Toy"]),
        (["7", "3d_fullres", "0", "-p", "other"], ["missing-plans", "other.json", "nnUNetPlans", "configure"]),
        (["7", "3d_lowres", "0"], ["missing-configuration", "3d_lowres", "3d_fullres"]),
        (["7", "3d_fullres", "first"], ["bad-fold", "first"]),
        (["7", "3d_fullres", "0", "-device", "mps"], ["no-device", "-device mps", "-device cpu"]),
        (["7", "3d_fullres", "0", "--c", "--val"], ["contradiction", "--c --val"]),
        (["7", "3d_fullres", "5"], ["bad-fold", "0 to 4", "got 5"]),
        (["7", "3d_fullres", "0", "--val"], ["unfinished-training", "fold_0", "--c"]),
        (["7", "3d_fullres", "0", "--c", "-pretrained_weights", "x"], ["contradiction", "-pretrained_weights"]),
        (["7", "3d_fullres", "0", "--val_best", "--disable_checkpointing"], ["contradiction", "--val_best"]),
        (["7", "3d_fullres", "0", "-pretrained_weights", "x.pth"], ["missing-checkpoint", "x.pth", "pretrain-from"]),
        (["7", "3d_fullres", "0", "-num_gpus", "0"], ["bad-gpus", "1 or more, got 0"]),
        (["7", "3d_fullres", "0", "-num_gpus", "2", "-device", "cpu"], ["bad-gpus", "-device cuda", "got cpu"]),
        (["7", "3d_fullres", "0", "-num_gpus", "3"], ["bad-gpus", "batch size of the plans, 2", "configure"]),
    ],
)
def test_train_refuses(folders, capsys, argv, words):
    line = refusal(capsys, "train", *argv)
    assert all(word in line for word in words), line


def test_train_needs_as_many_gpus_as_it_was_told(folders, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    threads = torch.get_num_threads()
    line = refusal(capsys, "train", "7", "3d_fullres", "0", "-num_gpus", "2")
    torch.set_num_threads(threads)
    assert "[bad-gpus] -num_gpus 2: expected that many GPUs, torch finds 1" in line
    assert not any((folders / "nnUNet_results").iterdir())


def test_train_needs_preprocessed_cases_and_writes_nothing(folders, capsys):
    dataset = folders / "nnUNet_preprocessed" / "Dataset007_Toy"
    (dataset / "nnUNetPlans_3d_fullres" / "case.b2nd").unlink()
    line = refusal(capsys, "train", "7", "3d_fullres", "0")
    assert "missing-preprocessed" in line
    assert "nnunet-multitask plan -d 7 -c 3d_fullres" in line
    plans = json.loads((dataset / "nnUNetPlans.json").read_text())
    (dataset / "other.json").write_text(json.dumps({**plans, "plans_name": "other"}))
    line = refusal(capsys, "train", "7", "3d_fullres", "0", "-p", "other")
    assert "run nnUNetv2_preprocess -d 7 -plans_name other -c 3d_fullres" in line  # plan would make nnUNetPlans anew
    assert not any((folders / "nnUNet_results").iterdir())


@pytest.mark.parametrize("splits", ['{"train": []}', "[{}]"])
def test_train_refuses_a_split_file_of_another_form(folders, capsys, splits):
    (folders / "nnUNet_preprocessed" / "Dataset007_Toy" / "splits_final.json").write_text(splits)
    assert "[bad-splits]" in refusal(capsys, "train", "7", "3d_fullres", "0")


def test_train_names_its_trainers(folders, capfd):
    assert main(["train", "7", "3d_fullres", "0", "-tr", "nope", "-device", "cpu"]) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert "[unknown-trainer] -tr nope" in line
    assert "nnUNetTrainerMultiTask, nnUNetTrainerMultiTaskShort" in line
    assert line.endswith("-> correct it, or name the folder of your own trainer in nnUNet_extTrainer")
    assert not any((folders / "nnUNet_results").iterdir())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-d", "7", "-c", "3d_fullres"], ["missing-dataset", "nnUNet_results"]),
        (["-c", "3d_fullres"], ["missing-model", "-m"]),
        (["-m", "nowhere"], ["missing-model", "nowhere", "plans.json"]),
        (["-m", "nowhere", "-part_id", "2"], ["bad-part", "0 to 0", "got 2"]),
        (["-m", "nowhere", "-f", "one"], ["bad-fold", "one"]),
        (["-m", "nowhere", "-step_size", "1.5"], ["bad-step-size", "got 1.5"]),
        (["-m", "nowhere", "-npp", "0"], ["bad-processes", "got 0 and 3"]),
        (["-m", "nowhere", "-npp", "0", "-nps", "0", "-num_parts", "2"], ["contradiction", "-num_parts"]),
    ],
)
def test_predict_refuses_and_writes_nothing(folders, capsys, argv, words):
    line = refusal(capsys, "predict", "-i", folders, "-o", folders / "out", *argv)
    assert all(word in line for word in words), line
    assert not (folders / "out").exists()


def test_predict_needs_a_folder_of_images(folders, capsys):
    assert "missing-folder" in refusal(capsys, "predict", "-i", folders / "none", "-o", "out", "-m", "nowhere")


def test_configure_writes_plans_and_says_what(folders, capsys):
    argv = "configure 7 --name small --features 8,16,32 --patch-size 8,32,32 --batch-size 3 --epochs 4 --mirroring off"
    assert main([*argv.split(), "--set", "dropout=0.3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    written = json.loads((folders / "nnUNet_preprocessed" / "Dataset007_Toy" / "small.json").read_text())
    assert written["plans_name"] == "small"
    assert said["features"] == [8, 16, 32]
    assert said["patch_size"] == written["configurations"]["3d_fullres"]["patch_size"] == [8, 32, 32]
    assert said["schedule"] == written["multitask"]["schedule"] == {"epochs": 4, "mirroring": False}
    assert said["config"] == {"dropout": 0.3}
    assert main(["configure", "7", "--name", "same", "--from", "small", "--case-sampling", "balanced"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-6:] == [
        "branch:", "  dropout: 0.3 (default 0.1)",
        "schedule:", "  epochs: 4 (default 1000)", "  mirroring: off (default on)",
        "  case_sampling: balanced (default natural)",
    ]  # fmt: skip
    assert main(["configure", "7", "--name", "copy"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["branch: as by default", "schedule: as by default"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--name", "nnUNetPlans"], ["exists", "--overwrite"]),
        (["--name", "a__b"], ["bad-name", "a__b"]),
        (["--name", "../x"], ["bad-name"]),
        (["--name", "splits_final"], ["bad-name", "splits_final.json", "another document"]),
        (["--name", "class_labels", "--overwrite"], ["bad-name", "class_labels.json"]),
        (["--name", "x", "--learning-rate", "inf"], ["bad-setting", "learning_rate must be a finite number, got inf"]),
        (["--name", "x", "--set", "dropout"], ["bad-setting", "NAME=VALUE"]),
        (["--name", "x", "--set", "dropuot=1"], ["unknown-setting", "'dropout'"]),
        (["--name", "x", "--set", "dropout=lots"], ["bad-setting", "dropout must be a finite number"]),
        (["--name", "x", "--patch-size", "8,30,32"], ["bad-patch-size", "8,32,32"]),
    ],
)
def test_configure_refuses_and_writes_nothing(folders, capsys, argv, words):
    line = refusal(capsys, "configure", "7", *argv)
    assert all(word in line for word in words), line
    dataset = folders / "nnUNet_preprocessed" / "Dataset007_Toy"
    assert [path.name for path in dataset.glob("*.json")] == ["nnUNetPlans.json"]


def test_configure_replaces_plans_only(folders, capsys):
    notes = folders / "nnUNet_preprocessed" / "Dataset007_Toy" / "notes.json"
    notes.write_text("[]")
    assert "[bad-name]" in refusal(capsys, "configure", "7", "--name", "notes", "--overwrite")
    assert notes.read_text() == "[]"


def test_numbers_that_are_none_are_wrong_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["configure", "7", "--name", "x", "--features", "8,many"])
    assert "expected whole numbers separated by commas, got '8,many'" in capsys.readouterr().err
