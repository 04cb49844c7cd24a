"""Mixed precision on the CPU: of a network in both modes, and of a training step."""

from dataclasses import replace

import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args
from torch import nn

from nnunet_multitask.training.cpu_precision import run_in_bfloat16


class Outputs(nn.Module):
    """Returns its convolution in the containers that networks return, and notes the precision it had."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1)
        self.seen = []

    def forward(self, x, *, classify=False):
        y = self.convolution(x)
        self.seen.append(y.dtype)
        return ([y, y], {"ich": y}) if classify else y


def test_passes_run_in_bfloat16_and_return_single_precision():
    network = Outputs()
    run_in_bfloat16(network)
    levels, logits = network(torch.randn(1, 1, 4, 4), classify=True)
    assert network.seen == [torch.bfloat16]
    assert [level.dtype for level in levels] == [torch.float32, torch.float32]
    assert logits["ich"].dtype == torch.float32
    logits["ich"].sum().backward()
    assert network.convolution.weight.grad.dtype == torch.float32


def test_passes_of_evaluation_run_in_it_too():
    network = Outputs().eval()
    run_in_bfloat16(network)
    with torch.inference_mode():
        assert network(torch.randn(1, 1, 4, 4)).dtype == torch.float32
    assert network.seen == [torch.bfloat16]


@pytest.mark.parametrize("name", ["nnUNetTrainerBaselineShort", "nnUNetTrainerMultiTaskShort"])
def test_a_step_comes_near_that_of_single_precision(micro_env, name):
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = get_trainer_from_args("901", "3d_fullres", 0, name, "micro", device=torch.device("cpu"))
        trainer.schedule = replace(trainer.schedule, cpu_precision=precision)
        trainer.on_train_start()
        trainer.network.train()
        losses[precision] = float(trainer.train_step(next(trainer.dataloader_train))["loss"])
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]
