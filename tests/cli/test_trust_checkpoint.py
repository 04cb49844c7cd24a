"""A program that hides in a checkpoint does not run, whichever door it comes through, unless the user trusts it."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from payloads import poison
from toy_models import make_images, make_model

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.trained_models import read_splits
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.training.trainers import nnUNetTrainerMultiTaskShort
from nnunet_multitask.workflows.seen_cases import see_cases

CPU = torch.device("cpu")
OURS, STOCK = "nnUNetTrainerMultiTaskShort", "nnUNetTrainer"
DATASET = ["-d", "901", "-c", "3d_fullres", "-p", "micro"]
WARNING = "you trust this checkpoint. Loading it runs whatever program it contains, with your rights"


@pytest.fixture(scope="module")
def models(micro, tmp_path_factory):
    """What finished trainings leave, of both trainers, by name."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**micro.variables, "nnUNet_results": str(folder)}.items():
            patch.setenv(name, value)
        for name in (OURS, STOCK):
            trainer = get_trainer_from_args("901", "3d_fullres", 0, name, "micro", device=CPU)
            trainer.initialize()
            found[name] = Path(trainer.output_folder_base)
            write_json(found[name] / "plans.json", trainer.plans_manager.plans)
            write_json(found[name] / "dataset.json", trainer.dataset_json)
            for kind in ("final", "best"):
                trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_{kind}.pth")
    return found


@pytest.fixture
def poisoned(models, micro_env, tmp_path, monkeypatch):
    """A function that copies a model, hides a program in a checkpoint of it, and returns both folders."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test

    def copy(name, checkpoint="checkpoint_final.pth"):
        model = tmp_path / "results" / "Dataset901_Micro" / models[name].name
        shutil.copytree(models[name], model)
        poison(model / "fold_0" / checkpoint, tmp_path / "made")
        return model, tmp_path / "made"

    return copy


@pytest.fixture
def without_work(monkeypatch):
    """Loading is what matters: nothing is trained and nothing validated."""
    for kind in (nnUNetTrainer, nnUNetTrainerMultiTaskShort):
        monkeypatch.setattr(kind, "run_training", lambda self: None)
        monkeypatch.setattr(kind, "perform_actual_validation", lambda self, save_probabilities=False: None)


def check_refused(capfd, made, checkpoint, *argv):
    """The command names the file and what it would have called, and calls nothing."""
    capfd.readouterr()
    assert main([str(word) for word in argv]) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert line.startswith(f"ERROR [unsafe-checkpoint] {checkpoint}: ")
    assert "got os.makedirs, which could run any program -> use a checkpoint that nnU-Net wrote" in line
    assert "--trust-checkpoint" in line
    assert not made.exists()


def check_trusted(capfd, caplog, made, *argv):
    """With the option the program runs, and the warning says so: the refusal was no accident."""
    assert main([*(str(word) for word in argv), "--trust-checkpoint"]) == 0
    assert WARNING in caplog.text
    assert made.exists()


@pytest.mark.parametrize("trainer", [OURS, STOCK])
@pytest.mark.parametrize(
    ("options", "checkpoint"),
    [
        (["--c"], "checkpoint_final.pth"),
        (["--val"], "checkpoint_final.pth"),
        (["--val", "--val_best"], "checkpoint_best.pth"),
        (["--val_best", "--c"], "checkpoint_best.pth"),
        (["-pretrained_weights"], "checkpoint_best.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_train(poisoned, without_work, capfd, caplog, trainer, options, checkpoint):
    model, made = poisoned(trainer, checkpoint)
    file = model / "fold_0" / checkpoint
    if options == ["-pretrained_weights"]:
        file = file.rename(model / "start.pth")
        options = ["-pretrained_weights", file]
    argv = ["train", "901", "3d_fullres", "0", "-p", "micro", "-tr", trainer, "-device", "cpu", *options]
    check_refused(capfd, made, file, *argv)
    check_trusted(capfd, caplog, made, *argv)


@pytest.mark.parametrize("checkpoint", ["checkpoint_final.pth", "checkpoint_best.pth"])
def test_our_trainers_are_safe_in_the_stock_command_too(poisoned, checkpoint):
    model, made = poisoned(OURS, checkpoint)
    trainer = get_trainer_from_args("901", "3d_fullres", 0, OURS, "micro", device=CPU)
    load = [
        lambda: maybe_load_checkpoint(trainer, True, False),  # --c
        lambda: maybe_load_checkpoint(trainer, False, True),  # --val
        lambda: trainer.load_checkpoint(str(model / "fold_0" / "checkpoint_best.pth")),  # --val_best
    ]
    for door in load[:2] if checkpoint == "checkpoint_final.pth" else load[2:]:
        with pytest.raises(InputError, match=rf"\[unsafe-checkpoint\] .*{checkpoint}.*nothing of this one was run"):
            door()
    assert not made.exists()


@pytest.mark.parametrize("fold", ["0", "1"])
def test_predict(tmp_path, monkeypatch, capfd, caplog, fold):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    model = make_model(tmp_path / "nnUNetTrainerMultiTask__toy__3d_fullres")
    images, made, out = make_images(tmp_path / "images", ("a",)), tmp_path / "made", tmp_path / "out"
    file = poison(model / f"fold_{fold}" / "checkpoint_final.pth", made)
    argv = ["predict", "-m", model, "-i", images, "-o", out, "-npp", "0", "-nps", "0", "-device", "cpu"]
    check_refused(capfd, made, file, *argv)
    assert not out.exists()
    check_trusted(capfd, caplog, made, *argv)
    assert (out / "a.nii.gz").is_file()


@pytest.mark.parametrize("trainer", [OURS, STOCK])
def test_probe(poisoned, capfd, caplog, trainer):
    model, made = poisoned(trainer)
    argv = ["probe", "-m", model, "--permutations", "0", "-device", "cpu"]
    check_refused(capfd, made, model / "fold_0" / "checkpoint_final.pth", *argv)
    check_trusted(capfd, caplog, made, *argv)


def test_pretrain_from(poisoned, tmp_path, capfd, caplog):
    model, made = poisoned(STOCK)
    file, start = model / "fold_0" / "checkpoint_final.pth", tmp_path / "start.pth"
    argv = ["pretrain-from", file, *DATASET, "-o", start]
    check_refused(capfd, made, file, *argv)
    assert not start.exists()
    check_trusted(capfd, caplog, made, *argv)
    assert start.is_file()


def test_explain(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    model = make_model(tmp_path / "Dataset999_Toy" / "nnUNetTrainerMultiTask__toy__3d_fullres", folds=1)
    images, made, out = make_images(tmp_path / "images", ("a",)), tmp_path / "made", tmp_path / "out"
    file = poison(model / "fold_0" / "checkpoint_final.pth", made)
    argv = ["explain", "-m", model, "-i", images, "-o", out, "--stages", "0", "-device", "cpu"]
    check_refused(capfd, made, file, *argv)
    check_trusted(capfd, caplog, made, *argv)


@pytest.mark.parametrize("trust", [False, True])
def test_the_cases_of_fit_aggregation(poisoned, micro_env, trust):
    """The command itself refuses so few cases before it opens a model."""
    model, made = poisoned(OURS)
    splits = dict(enumerate(read_splits(micro_env.preprocessed / "splits_final.json")[:1]))
    see = partial(see_cases, model, splits, read_sidecar(micro_env.raw / "class_labels.json"), micro_env.preprocessed)
    options = {"checkpoint_name": "checkpoint_final.pth", "device": CPU, "use_mirroring": False}
    if trust:
        see(**options, trust_checkpoint=True)
    else:
        with pytest.raises(InputError, match=r"\[unsafe-checkpoint\] .*got os\.makedirs, .*--trust-checkpoint"):
            see(**options)
    assert made.exists() == trust
