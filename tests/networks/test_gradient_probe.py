"""The gradients of both tasks, read in the ordinary backward pass."""

import math

import pytest
import torch
from two_processes import make_network

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.gradient_probe import fork, gradient_cosine, new_probe


def losses_of(network, x, probe=None):
    segmentation, logits = network(x, classify=True, probe=probe)
    return segmentation[0].square().mean(), sum(value.exp().mean() for value in logits.values())


def test_sums_by_hand():
    features, probe = torch.tensor([1.0, 2.0], requires_grad=True), new_probe(torch.device("cpu"))
    first, second = fork(features * 1, probe)
    (first @ torch.tensor([3.0, 0.0]) + second @ torch.tensor([1.0, -4.0])).backward()
    assert features.grad.tolist() == [4, -4]
    assert probe.grad.tolist() == [9, 17, 3]


@pytest.mark.parametrize("compiled", [False, True])
def test_probe_sees_what_two_backward_passes_would_give(compiled):
    network = make_network(MultiTaskConfig(dropout=0.0))
    called = torch.compile(network, backend="aot_eager", fullgraph=True) if compiled else network
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    stage = {}
    handle = network.encoder.register_forward_hook(lambda module, args, output: stage.update(last=output[-1]))
    gradients = [torch.autograd.grad(loss, stage["last"], retain_graph=True)[0] for loss in losses_of(network, x)]
    handle.remove()
    probe = new_probe(x.device)
    sum(losses_of(called, x, probe)).backward()
    first, second = (gradient.flatten().double() for gradient in gradients)
    expected = torch.stack([first @ first, second @ second, first @ second]).float()
    torch.testing.assert_close(probe.grad, expected)
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0).item()
    assert gradient_cosine(probe.grad.tolist()) == pytest.approx(cosine, rel=1e-4)


def test_probe_changes_neither_outputs_nor_gradients():
    network = make_network(MultiTaskConfig(dropout=0.0))
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    for probe in (None, new_probe(x.device)):
        network.zero_grad()
        losses = losses_of(network, x, probe)
        sum(losses).backward()
        seen.append((*losses, network.encoder.stages[0][0].convs[0].conv.weight.grad.clone()))
    for without, with_probe in zip(*seen, strict=True):
        torch.testing.assert_close(without, with_probe)


@pytest.mark.parametrize(
    ("sums", "cosine"),
    [((4.0, 9.0, 6.0), 1.0), ((4.0, 9.0, -3.0), -0.5), ((1e-20, 1e20, 1.0), 1.0)],
)
def test_cosine_by_hand(sums, cosine):
    assert gradient_cosine(sums) == pytest.approx(cosine)


@pytest.mark.parametrize("sums", [(1.0, 0.0, 0.0), (float("inf"), 1.0, 1.0), (float("nan"), 1.0, 1.0)])
def test_no_gradient_has_no_angle(sums):
    assert math.isnan(gradient_cosine(sums))
