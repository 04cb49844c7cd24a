"""From a stock checkpoint to a training that starts from it."""

import json

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.cli.main import main

CPU = torch.device("cpu")
ARGUMENTS = ["-d", "901", "-c", "3d_fullres", "-p", "micro"]


@pytest.fixture
def stock(micro_env, tmp_path, monkeypatch):
    """A checkpoint as nnU-Net's own trainer writes it, of another seed than the plans'."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    trainer = get_trainer_from_args("901", "3d_fullres", 0, "nnUNetTrainer", "micro", device=CPU)
    torch.manual_seed(99)
    trainer.initialize()
    trainer.save_checkpoint(str(tmp_path / "stock.pth"))
    return tmp_path / "stock.pth"


def test_training_starts_from_the_stock_weights(micro_env, stock, tmp_path, capsys):
    start = tmp_path / "start.pth"
    assert main(["pretrain-from", str(stock), *ARGUMENTS, "-tr", "nnUNetTrainerMultiTaskShort", "-o", str(start)]) == 0
    said = capsys.readouterr().out
    for words in ("taken: encoder, ", "taken: decoder, ", "not taken: segmentation layers", "new: fusion and heads"):
        assert words in said
    assert f"-tr nnUNetTrainerMultiTaskShort -p micro -pretrained_weights {start}" in said

    trainer = get_trainer_from_args("901", "3d_fullres", 0, "nnUNetTrainerMultiTaskShort", "micro", device=CPU)
    trainer.initialize()
    own = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    load_pretrained_weights(trainer.network, str(start))
    source = torch.load(stock, weights_only=False)["network_weights"]
    for name, value in trainer.network.state_dict().items():
        is_shared = name in source and ".seg_layers." not in name
        assert torch.equal(value, source[name] if is_shared else own[name]), name  # the branch has the same seed

    command = "nnunet-multitask train 901 3d_fullres 0 -tr nnUNetTrainerMultiTaskShort -p micro -device cpu"
    results = {"nnUNet_results": str(tmp_path / "results")}
    printed = micro_env.run(*command.split(), "-pretrained_weights", str(start), **results)
    assert "Loading pretrained weights from file" in printed
    assert list((tmp_path / "results").rglob("checkpoint_final.pth"))


def test_json_and_a_multitask_checkpoint_of_another_dataset(micro_env, stock, tmp_path, capsys):
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    assert main(["pretrain-from", str(stock), *ARGUMENTS, "-o", str(first)]) == 0
    capsys.readouterr()
    assert main(["pretrain-from", str(first), *ARGUMENTS, "-o", str(second), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == str(second)
    assert said["input_layer"] is None
    assert {name.split(".")[0] for name in said["left"]} == {"fusion", "heads"}
    assert {name.split(".")[0] for name in said["taken"]} == {"encoder", "decoder"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"-c": "2d", "-p": "micro2d"}, ["other-architecture", "stock.pth", "expected encoder.stages.0"]),
        ({"-tr": "nnUNetTrainer"}, ["no-multitask-trainer"]),
        ({"-tr": "nope"}, ["unknown-trainer"]),
        ({"-c": "3d_lowres"}, ["missing-configuration"]),
        ({"-p": "nope"}, ["missing-plans"]),
        ({"-o": "stock.pth"}, ["already-exists", "--overwrite"]),
    ],
)
def test_refusals_write_nothing(stock, tmp_path, capsys, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    options = {"-d": "901", "-c": "3d_fullres", "-p": "micro", "-o": "start.pth", **change}
    assert main(["pretrain-from", "stock.pth", *(word for pair in options.items() for word in pair)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert all(word in line for word in words), line
    assert not (tmp_path / "start.pth").exists()


def test_a_damaged_checkpoint_writes_nothing(stock, tmp_path, capsys):
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(stock.read_bytes()[:1000])
    assert main(["pretrain-from", str(damaged), *ARGUMENTS, "-o", str(tmp_path / "start.pth")]) == 1
    assert "[unreadable-checkpoint]" in capsys.readouterr().err
    assert not (tmp_path / "start.pth").exists()
