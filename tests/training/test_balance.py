"""The balance of both tasks in the trainer."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from nnunet_multitask.errors import InputError
from nnunet_multitask.losses import pcgrad
from nnunet_multitask.training.curves import GRADIENT_COSINE, WEIGHTS


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "gradnorm", "pcgrad"])
def test_each_balance_trains_and_logs_itself(make, tmp_path, balance):
    if balance == "pcgrad":
        pytest.importorskip("torchjd")
    config = {"loss_balancing": balance, "balancing_rate": 0.1}
    trainer = make(config=config)
    trainer.run_training()
    cosines, *weights = (trainer.logger.get_value(name, None) for name in (GRADIENT_COSINE, *WEIGHTS))
    assert len(cosines) == 2
    assert all(-1 <= cosine <= 1 for cosine in cosines)
    learned = balance in ("uncertainty", "gradnorm")
    assert (weights[0][1] != 1 and weights[1][1] != 0.3) == learned
    text = next((tmp_path / "Dataset901_Micro").rglob("training_log*.txt")).read_text()
    assert text.count("cosine of the gradients") == 2
    assert ("weights" in text.rpartition("cosine of the gradients")[2].splitlines()[0]) == learned
    # what is learned is neither a weight of the network nor of its optimiser, and comes back
    again = make(config=config)
    again.initialize()
    names = set(again.network.state_dict())
    again.load_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    assert (
        set(torch.load(f"{trainer.output_folder}/checkpoint_final.pth", weights_only=False)["network_weights"]) == names
    )
    assert again.balancer.effective_weights() == trainer.balancer.effective_weights()


def test_warm_up_is_logged(make):
    trainer = make(config={"warmup_epochs": 1})
    trainer.run_training()
    assert trainer.logger.get_value(WEIGHTS[1], None) == pytest.approx([0.15, 0.3])


@pytest.mark.parametrize(("warmup_epochs", "warned"), [(1, False), (3, True)])
def test_a_warm_up_longer_than_the_training_is_told(make, warmup_epochs, warned):
    trainer = make(config={"warmup_epochs": warmup_epochs})  # of two epochs
    trainer.initialize()
    text = Path(trainer.log_file).read_text()
    line = "WARN warmup_epochs 3 in a training of 2: the classification never counts more than 0.50 of its weight"
    assert (line in text) == warned


def test_a_training_that_diverged_says_so(make):
    trainer = make(epochs=1)
    trainer.initialize()
    torch.nn.init.constant_(next(trainer.network.heads.parameters()), math.nan)
    with pytest.raises(InputError, match=r"\[diverged\] .*fold_0, epoch 0, subtype: .* got NaN.* lower learning_rate"):
        trainer.run_training()


def test_a_compiled_network_logs_the_same(make, monkeypatch):
    """nnU-Net compiles on a GPU only; here it does so without generating code."""
    curves = []
    for compiled in (False, True):
        trainer = make(config={"dropout": 0.0}, epochs=1)
        if compiled:
            monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
            trainer._do_i_compile = lambda: True
        trainer.run_training()
        curves.append([trainer.logger.get_value(name, None) for name in (GRADIENT_COSINE, "train_losses")])
    assert isinstance(trainer.network, torch._dynamo.OptimizedModule)
    assert curves[1] == [pytest.approx(values, rel=1e-3) for values in curves[0]]
    assert not math.isnan(curves[1][0][0])
    path = f"{trainer.output_folder}/checkpoint_final.pth"
    names = torch.load(path, weights_only=False)["network_weights"]
    assert not any("_orig_mod" in name for name in names)
    trainer.load_checkpoint(path)


def test_cosine_of_an_epoch_without_labels_is_unknown(make):
    trainer = make()
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    trainer.case_labels._labels = {case: {} for case in trainer.case_labels._labels}
    output = trainer.train_step(batch)
    assert math.isnan(output[GRADIENT_COSINE])


@pytest.mark.parametrize("balance", ["fixed", "gradnorm"])
def test_the_cosine_takes_no_pass_of_its_own(make, balance):
    trainer = make(config={"loss_balancing": balance})
    trainer.on_train_start()
    passes = []
    stage = trainer.network.encoder.stages[1]
    stage.register_forward_hook(lambda *_: passes.append("forward"))
    stage.register_full_backward_hook(lambda *_: passes.append("backward"))
    output = trainer.train_step(next(trainer.dataloader_train))
    assert passes == ["forward", "backward"]
    assert -1 <= output[GRADIENT_COSINE] <= 1


def test_another_balance_than_before_starts_afresh(make):
    before = make(config={"loss_balancing": "uncertainty"})
    before.initialize()
    after = make(config={"loss_balancing": "gradnorm"})
    after.initialize()
    after.load_extra_state(before.extra_state())
    assert after.balancer.effective_weights() == (1.0, 0.3)


def test_the_loss_is_as_its_settings_say(make):
    config = {"classification_loss": "focal", "focal_gamma": 3.0, "label_smoothing": 0.1, "class_weights": "none"}
    trainer = make(config=config)
    trainer.initialize()
    trainer.get_tr_and_val_datasets()
    loss = trainer.classification_loss
    assert (loss.focal_gamma, loss.label_smoothing, loss.class_weights) == (3, 0.1, {})


def test_a_missing_extra_is_named_before_training(make, monkeypatch):
    monkeypatch.setattr(pcgrad, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"\[missing-extra\] .*pip install"):
        make(config={"loss_balancing": "pcgrad"}).initialize()
