"""Projected gradients, with TorchJD."""

import pytest
import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.losses import pcgrad
from nnunet_multitask.losses.balancers import check_available
from nnunet_multitask.losses.pcgrad import PCGrad

SETTINGS = MultiTaskConfig(loss_balancing="pcgrad", classification_weight=1.0)


def gradients(first, second, **settings):
    """Return what PCGrad makes of two gradients of a shared parameter, and of one parameter for each task."""
    pytest.importorskip("torchjd")
    shared, a, b = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    balancer = PCGrad(MultiTaskConfig(loss_balancing="pcgrad", **settings), [shared], [a, b])
    losses = [shared @ torch.tensor(first) + a.sum(), shared @ torch.tensor(second) + 2 * b.sum()]
    sums = balancer.backward(*losses)
    assert not hasattr(shared, "jac")
    return shared.grad.tolist(), a.grad.tolist(), b.grad.tolist(), sums.tolist()


def test_conflicting_gradients_by_hand():
    """g1 = (1, 0), g2 = (-1, 1): g1 - (g1.g2 / g2.g2) g2 = (1/2, 1/2), g2 - (g2.g1 / g1.g1) g1 = (0, 1)."""
    shared, a, b, sums = gradients([1.0, 0.0], [-1.0, 1.0], classification_weight=1.0)
    assert shared == pytest.approx([0.5, 1.5])
    assert a == [1, 1]
    assert b == [2, 2]
    assert sums == [1, 2, -1]


def test_agreeing_gradients_are_added():
    shared, *_ = gradients([1.0, 0.0], [1.0, 1.0], classification_weight=1.0)
    assert shared == pytest.approx([2.0, 1.0])


def test_the_weight_scales_the_classifications_share():
    shared, _, b, _ = gradients([1.0, 0.0], [-1.0, 1.0], classification_weight=0.5)
    assert shared == pytest.approx([0.5, 1.0])
    assert b == [1, 1]


def test_overflow_stays_visible_to_mixed_precision():
    shared, *_ = gradients([float("inf"), 0.0], [-1.0, 1.0], classification_weight=1.0)
    assert not torch.isfinite(torch.tensor(shared)).all()


def test_a_compiled_graph_is_gone_through_twice(monkeypatch):
    pytest.importorskip("torchjd")
    layer = torch.nn.Linear(2, 2)
    balancer = PCGrad(SETTINGS, layer.parameters(), [torch.nn.Parameter(torch.zeros(1))])
    output = torch.compile(layer, backend="aot_eager", fullgraph=True)(torch.ones(1, 2))
    balancer.backward(output[0, 0], output[0, 1])
    assert layer.weight.grad.tolist() == [[1, 1], [1, 1]]
    assert balancer.own[0].grad.tolist() == [0]


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(pcgrad, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"\[missing-extra\] loss_balancing=pcgrad: .*nnunet-multitask\[pcgrad\]"):
        check_available(SETTINGS)
    check_available(MultiTaskConfig())
