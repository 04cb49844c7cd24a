"""The course of the learning rate over the epochs."""

import pytest
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from nnunet_multitask.config import ScheduleConfig
from nnunet_multitask.training.settings import EpochDecay


@pytest.mark.parametrize("epoch", [0, 1, 7, 9])
def test_poly_decay_is_nnunets(epoch):
    ours, theirs = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01) for _ in range(2))
    EpochDecay(ours, ScheduleConfig(decay="poly", epochs=10)).step(epoch)
    PolyLRScheduler(theirs, 0.01, 10).step(epoch)
    assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])


def test_cosine_decay_keeps_the_ratio_of_groups():
    parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.4}])
    decay = EpochDecay(optimizer, ScheduleConfig(decay="cosine", epochs=4))
    rates = []
    for epoch in range(5):
        decay.step(epoch)
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates[0] == [0.1, 0.4]
    assert rates[2] == pytest.approx([0.05, 0.2])
    assert rates[4] == pytest.approx([0, 0])


def test_restarts_are_torchs():
    ours, theirs = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1) for _ in range(2))
    decay = EpochDecay(ours, ScheduleConfig(decay="cosine_restarts", epochs=30, restart_epochs=4, restart_factor=2))
    torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, T_0=4, T_mult=2)
    rates = []
    for epoch in range(30):
        decay.step(epoch)
        torchs.step(epoch)
        rates.append(ours.param_groups[0]["lr"])
        assert rates[-1] == pytest.approx(theirs.param_groups[0]["lr"])
    assert [epoch for epoch, rate in enumerate(rates) if rate == 0.1] == [0, 4, 12, 28]
