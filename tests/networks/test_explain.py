import pytest
import torch
from torch import nn
from unets import unet

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet

OUTPUTS = {"subtype": 2}
NUM_MAPS = {"average": (0, 0), "attention": (3, 0), "guided": (3, 3)}


@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
def test_explanation_comes_with_the_very_same_outputs(pooling, dimensions, deep_supervision):
    torch.manual_seed(0)
    base = unet(dimensions=dimensions, deep_supervision=deep_supervision)
    network = MultiTaskUNet(base, OUTPUTS, MultiTaskConfig(pooling=pooling)).eval()
    x = torch.randn(2, 1, *[16] * dimensions)
    explained = network.explain(x)
    segmentation, logits = network(x, classify=True)
    assert torch.equal(explained.logits["subtype"], logits["subtype"])
    finest = [levels[0] if deep_supervision else levels for levels in (explained.segmentation, segmentation)]
    assert torch.equal(*finest)
    assert (len(explained.attention), len(explained.guidance)) == NUM_MAPS[pooling]
    for maps in (explained.attention, explained.guidance):
        for side, weights in zip((16, 8, 4)[: len(maps)], maps, strict=True):
            assert weights.shape == (2, 1, *[side] * dimensions)
            torch.testing.assert_close(weights.flatten(1).sum(dim=1), torch.ones(2))
    torch.testing.assert_close(explained.stage_weights, torch.full((3,), 1 / 3))
    assert explained.channel_gate.shape == (2, 32)
    assert not any(weights.requires_grad for weights in (*explained.attention, explained.channel_gate))


def test_attention_goes_where_the_score_is_high():
    network = MultiTaskUNet(unet(dimensions=2), OUTPUTS, MultiTaskConfig(pooling="attention")).eval()
    features = [torch.zeros(1, width, side, side) for width, side in ((4, 16), (8, 8), (12, 4))]
    features[0][0, 2, 5, 7] = 1.0
    with torch.no_grad():
        network.fusion.attention[0].weight.zero_()
        network.fusion.attention[0].weight[0, 2] = 20.0
    weights = network.fusion.attention_maps(features)[0]
    assert weights[0, 0, 5, 7] == weights.max() > 0.99


def test_guidance_is_the_predicted_foreground():
    network = MultiTaskUNet(unet(dimensions=2), OUTPUTS, MultiTaskConfig()).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 1, 16, 16))
    network.decoder = _Constant(torch.zeros_like(logits).index_fill(1, torch.tensor([0]), 9.0))
    network.decoder.logits[0, 1, 2, 3] = 18.0  # one voxel of foreground
    guidance = network.explain(torch.randn(1, 1, 16, 16)).guidance
    assert guidance[0][0, 0, 2, 3] > 0.9
    assert guidance[2].flatten().argmax() == 0  # of 4x4 voxels the first


class _Constant(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, features):
        return self.logits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_maps_are_single_precision_under_autocast(dtype):
    network = MultiTaskUNet(unet(dimensions=2), OUTPUTS, MultiTaskConfig()).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        explained = network.explain(torch.randn(1, 1, 16, 16))
    for weights in (*explained.attention, *explained.guidance):
        assert weights.dtype == torch.float32
        assert weights.sum().item() == pytest.approx(1, abs=1e-5)
