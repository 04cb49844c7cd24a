"""What torch.compile and mixed precision, nnU-Net's defaults on CUDA, need: tried here on the CPU."""

import pytest
import torch
from unets import unet

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet

OUTPUTS = {"subtype": 2, "ich": 1}


def make(dimensions=3, deep_supervision=True, **settings):
    torch.manual_seed(0)
    base = unet(dimensions=dimensions, deep_supervision=deep_supervision)
    return MultiTaskUNet(base, OUTPUTS, MultiTaskConfig(dropout=0, **settings))


def joint_loss(network, x, classify=True):
    """Return a loss on all outputs, and the gradient of every parameter by name."""
    outputs = network(x, classify=classify)
    segmentation, logits = outputs if classify else (outputs, {})
    levels = segmentation if isinstance(segmentation, list) else [segmentation]
    loss = sum(level.float().square().mean() for level in levels) + sum(v.square().sum() for v in logits.values())
    network.zero_grad()
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("settings", "deep_supervision", "classify"),
    [
        ({"pooling": "guided"}, True, True),
        ({"pooling": "attention", "detach_features": True}, False, True),
        ({"pooling": "average"}, True, False),
    ],
)
def test_training_compiles_into_one_graph(settings, deep_supervision, classify):
    network = make(2, deep_supervision, **settings).train()
    x = torch.randn(2, 1, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expected, gradients = joint_loss(network, x, classify)
    network.load_state_dict(before)  # the running moments have moved
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    found, compiled_gradients = joint_loss(compiled, x, classify)
    torch.testing.assert_close(found, expected)
    assert {name.removeprefix("_orig_mod.") for name in compiled_gradients} == set(gradients)
    for name, gradient in compiled_gradients.items():
        torch.testing.assert_close(gradient, gradients[name.removeprefix("_orig_mod.")], rtol=1e-4, atol=1e-5)


def test_prediction_compiles_into_one_graph_in_3d():
    network = make(3, deep_supervision=False).eval()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(compiled(x, classify=True)[1], network(x, classify=True)[1])
    assert compiled.explain(x).attention[0].shape == x.shape


@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_mixed_precision_stays_finite_and_close(dimensions, pooling):
    network = make(dimensions, pooling=pooling).train()
    x = torch.randn(2, 1, *[16] * dimensions)
    expected, gradients = joint_loss(network, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, mixed = joint_loss(network, x)
    assert found.item() == pytest.approx(expected.item(), rel=0.05)
    for name, gradient in mixed.items():
        assert torch.isfinite(gradient).all(), name
    branch = [name for name in gradients if name.startswith(("fusion.", "heads."))]
    together = [torch.cat([found[name].flatten() for name in branch]) for found in (gradients, mixed)]
    assert torch.cosine_similarity(*together, dim=0) > 0.99


def test_gradients_keep_the_precision_of_the_features():
    fusion = make(2).fusion
    features = [torch.randn(2, c, s, s).bfloat16().requires_grad_() for c, s in ((4, 16), (8, 8), (12, 4))]
    fusion(features, torch.rand(2, 1, 16, 16)).sum().backward()
    assert {stage.grad.dtype for stage in features} == {torch.bfloat16}
    assert all(torch.isfinite(stage.grad).all() for stage in features)
