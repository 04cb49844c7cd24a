"""A batch in parts has the gradient of the whole batch."""

from types import SimpleNamespace

import pytest
import torch
from two_processes import joint_step, make_samples, samples_for

from nnunet_multitask.config import ScheduleConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.training import stepping
from nnunet_multitask.training.stepping import Part
from nnunet_multitask.training.trainers import nnUNetTrainerBaseline


def annotated_parts(size):
    """Return the parts of the four samples, of which all but the last have a mask."""
    rows = [slice(start, min(start + size, 4)) for start in range(0, 4, size)]
    return [Part(part, len(range(3)[part]) / 3, part.stop == 4) for part in rows]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "gradnorm"])
def test_parts_add_up_to_the_batch(size, balance):
    """Three of the four samples have a mask, two a label; the probe's sums add up too."""
    settings = {"loss_balancing": balance}
    whole = joint_step(settings, make_samples())
    parts = joint_step(settings, make_samples(), annotated_parts(size))
    for name, gradient in whole["gradients"].items():
        torch.testing.assert_close(parts["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    for name in ("losses", "sums", "weights"):
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("balance", ["fixed", "gradnorm", "pcgrad"])
def test_the_factor_of_mixed_precision_cancels(balance):
    if balance == "pcgrad":
        pytest.importorskip("torchjd")
    settings = {"loss_balancing": balance}
    plain, scaled = (joint_step(settings, samples_for({}), scale=scale) for scale in (1.0, 1024.0))
    for name, gradient in plain["gradients"].items():
        torch.testing.assert_close(scaled["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(scaled["weights"], plain["weights"])
    torch.testing.assert_close(scaled["sums"], plain["sums"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["nnUNetTrainerMultiTaskShort", "nnUNetTrainerBaselineShort"])
def test_trainers_step_in_parts_as_on_the_whole_batch(make, name):
    weights = []
    for size in (0, 1):
        trainer = make(name, {"dropout": 0.0, "pooling": "attention"}, micro_batch_size=size)
        trainer.on_train_start()
        batch = next(trainer.dataloader_train)
        trainer.loss.loss.dc.batch_dice = False
        outputs = trainer.train_step(batch)
        gradients = {n: p.grad.clone() for n, p in trainer.network.named_parameters() if p.grad is not None}
        weights.append((gradients, float(outputs["loss"])))
    (whole, loss), (parts, sum_of_parts) = weights
    assert sum_of_parts == pytest.approx(loss, rel=1e-4)
    assert set(parts) == set(whole)
    for parameter, gradient in whole.items():
        torch.testing.assert_close(parts[parameter], gradient, rtol=1e-3, atol=1e-5, msg=parameter)


@pytest.mark.parametrize(
    ("name", "config", "schedule"),
    [
        ("nnUNetTrainerMultiTaskShort", {}, {}),
        ("nnUNetTrainerMultiTaskShort", {"loss_balancing": "pcgrad"}, {}),
        ("nnUNetTrainerMultiTaskShort", {}, {"micro_batch_size": 1}),
        ("nnUNetTrainerBaselineShort", {}, {"micro_batch_size": 1}),
    ],
)
def test_losses_are_scaled_once_and_gradients_unscaled_before_they_are_clipped(make, name, config, schedule):
    if config:
        pytest.importorskip("torchjd")
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**14)):
        trainer = make(name, {"dropout": 0.0, **config}, optimizer="sgd", **schedule)
        trainer.on_train_start()
        trainer.grad_scaler = scaler
        trainer.train_step(next(trainer.dataloader_train))
        weights.append({key: value.clone() for key, value in trainer.network.state_dict().items()})
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-6, msg=key)


def test_last_part_takes_what_is_left(make):
    trainer = make("nnUNetTrainerBaselineShort", micro_batch_size=3)
    parts = trainer.parts_of(torch.zeros(7, 1, 4, 4, 4))
    assert [(part.rows.start, part.rows.stop, part.last) for part in parts] == [
        (0, 3, False), (3, 6, False), (6, 7, True),
    ]  # fmt: skip
    assert [float(part.share) for part in parts] == pytest.approx([3 / 7, 3 / 7, 1 / 7])


def test_gpus_that_cannot_share_a_batch_evenly_are_refused(monkeypatch):
    """They would have different numbers of parts, and wait for each other for ever."""
    trainer = nnUNetTrainerBaseline.__new__(nnUNetTrainerBaseline)  # what it takes to be asked, and no dataset
    configuration = SimpleNamespace(batch_size=5)
    vars(trainer).update(schedule=ScheduleConfig(micro_batch_size=1), is_ddp=True, configuration_manager=configuration)
    trainer.plans_manager = SimpleNamespace(plans_name="mine")
    monkeypatch.setattr(stepping.dist, "get_world_size", lambda: 2)
    with pytest.raises(InputError, match=r"\[uneven-batch\] plans mine, micro_batch_size: .* 2 GPUs .*, got 5 samples"):
        trainer.check_parts()
    configuration.batch_size = 4
    trainer.check_parts()


def test_projection_of_parts_is_refused(make):
    pytest.importorskip("torchjd")
    config = {"loss_balancing": "pcgrad"}
    trainer = make("nnUNetTrainerMultiTaskShort", config, micro_batch_size=1)
    with pytest.raises(InputError, match=r"\[contradiction\] plans micro, loss_balancing: .*1 samples at a time"):
        trainer.initialize()
