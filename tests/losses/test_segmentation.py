"""The segmentation loss of batches in which some samples have no mask."""

import math

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunet_multitask.losses import segmentation
from nnunet_multitask.losses.segmentation import AnnotatedSamplesLoss

IGNORE = 2
SHAPE = (2, 3, 4)


def make_loss(batch_dice, regions=False):
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    kind = {"dice_class": MemoryEfficientSoftDiceLoss}
    if regions:
        return AnnotatedSamplesLoss(DC_and_BCE_loss({}, dice, use_ignore_label=True, **kind), None, batch_dice)
    return AnnotatedSamplesLoss(DC_and_CE_loss(dice, {}, ignore_label=IGNORE, **kind), IGNORE, batch_dice)


def gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.item(), logits.grad


def sample(seed, annotated, regions=False):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((1, 2, *SHAPE), generator=generator)
    target = torch.randint(0, 2, (1, 3 if regions else 1, *SHAPE), generator=generator)
    if regions:
        target[:, -1] = 0 if annotated else 1
    elif not annotated:
        target[:] = IGNORE
    return logits, target


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_neighbour_without_mask_changes_nothing(order, batch_dice, regions):
    pair = [sample(1, annotated=True, regions=regions), sample(2, annotated=False, regions=regions)]
    alone, own = gradient(make_loss(batch_dice, regions), *pair[0])
    logits, target = (torch.cat([pair[i][part] for i in order]) for part in (0, 1))
    together, both = gradient(make_loss(batch_dice, regions), logits, target)
    assert together == alone
    position = order.index(0)
    assert torch.equal(both[position], own[0])
    assert both[1 - position].abs().max() == 0
    assert own.abs().max() > 0


def test_gradient_by_hand():
    """One voxel, two classes, logits (0, 0), true class 1: cross-entropy gives (1/2, -1/2) to the logits.

    Dice is 2 p / (p + 1), p = 1/2, and -d/dp of it 2 / (p + 1)^2 = 8/9, times dp/dlogit = 1/4.
    """
    logits = torch.zeros((2, 2, 1, 1, 1))
    target = torch.tensor([1, IGNORE]).view(2, 1, 1, 1, 1)
    value, grad = gradient(make_loss(batch_dice=False), logits, target)
    assert value == pytest.approx(math.log(2) - 2 / 3, abs=1e-4)
    expected = 0.5 + 8 / 9 / 4
    assert grad[0].flatten().tolist() == pytest.approx([expected, -expected], abs=1e-4)
    assert grad[1].flatten().tolist() == [0, 0]


def test_without_any_mask_loss_and_gradient_are_zero():
    pair = [sample(1, annotated=False), sample(2, annotated=False)]
    logits, target = (torch.cat([part[i] for part in pair]) for i in (0, 1))
    value, grad = gradient(make_loss(batch_dice=False), logits, target)
    assert value == 0
    assert grad.abs().max() == 0


def test_annotated_batches_go_through_as_they_are():
    class Echo(nn.Module):
        def forward(self, logits, target):
            return logits, target

    logits, target = sample(1, annotated=True)
    seen = AnnotatedSamplesLoss(Echo(), IGNORE)(logits, target)
    assert seen[0] is logits
    assert seen[1] is target


def test_one_of_several_processes_weighs_cross_entropy_by_its_share_and_leaves_batch_dice(monkeypatch):
    """With one annotated sample where the processes have two on average: half of it counts."""
    pair = [sample(1, annotated=True), sample(2, annotated=False)]
    logits, target = (torch.cat([part[i] for part in pair]) for i in (0, 1))
    loss = make_loss(batch_dice=True)
    cross_entropy, dice = [], []
    for weights, values in (((1, 0), cross_entropy), ((0, 1), dice)):
        loss.loss.weight_ce, loss.loss.weight_dice = weights
        values.append(loss(logits, target))
        with monkeypatch.context() as distributed:
            distributed.setattr(segmentation, "is_distributed", lambda: True)
            distributed.setattr(segmentation, "mean_over_processes", lambda count: count * 2)
            values.append(loss(logits, target))
        assert loss.loss.weight_ce == weights[0]
    assert cross_entropy[1].item() == pytest.approx(cross_entropy[0].item() / 2)
    torch.testing.assert_close(*dice)


def test_a_loss_of_dice_alone_has_no_cross_entropy_to_weigh(monkeypatch):
    monkeypatch.setattr(segmentation, "is_distributed", lambda: True)
    dice = MemoryEfficientSoftDiceLoss(batch_dice=True, ddp=False)
    logits, target = sample(1, annotated=True)
    assert AnnotatedSamplesLoss(dice, IGNORE, batch_dice=True)(logits, target) == dice(logits, target)
