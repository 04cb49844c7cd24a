import pytest
import torch
from torch import nn

from nnunet_multitask.networks.attention_fusion import AttentionFusion


def stages(batch=2):
    torch.manual_seed(0)
    return [torch.randn(batch, 4, 8, 8), torch.randn(batch, 6, 4, 4)]


def test_attention_maps_have_the_stages_size_and_sum_to_one():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="attention")
    maps = fusion.attention_maps(stages())
    assert [tuple(m.shape) for m in maps] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    for attention in maps:
        torch.testing.assert_close(attention.sum(dim=(1, 2, 3)), torch.ones(2))
    assert AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="average").attention_maps(stages()) == []


def test_stage_weights_start_equal_and_sum_to_one():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="average")
    assert fusion.stage_weights().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("pooling", "width"), [("average", 5), ("attention", 10), ("guided", 16)])
def test_width_of_the_fused_vector(pooling, width):
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling=pooling)
    foreground = torch.rand(2, 1, 8, 8)
    assert fusion.output_channels == width
    assert tuple(fusion(stages(), foreground).shape) == (2, width)


def test_guidance_by_hand():
    fusion = AttentionFusion(nn.Conv2d, [1, 1], channels=2, pooling="guided")
    foreground = torch.zeros(1, 1, 4, 4)
    foreground[0, 0, :2, :2] = 1  # the upper left quarter
    fine, coarse = fusion.guidance_maps([torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)], foreground)
    torch.testing.assert_close(fine, foreground / 4, atol=1e-5, rtol=0)
    torch.testing.assert_close(coarse, torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), atol=1e-5, rtol=0)
    assert AttentionFusion(nn.Conv2d, [1], channels=2, pooling="attention").guidance_maps([fine], foreground) == []


def test_guided_pooling_sees_only_the_foreground():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="guided").eval()
    foreground = torch.zeros(1, 1, 8, 8)
    foreground[0, 0, 0, 0] = 1
    pooled = fusion._pooled(stages(1), foreground)[0][0, 2]
    torch.testing.assert_close(pooled, stages(1)[0][0, :, 0, 0], atol=1e-3, rtol=0)


def test_channel_gate_is_what_the_vector_is_multiplied_by():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="average").eval()
    gate = fusion.channel_gate(stages())
    assert gate.shape == (2, 5)
    assert ((gate > 0) & (gate < 2)).all()
    vector = fusion(stages())
    last = fusion.channel_attention[2]
    nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)  # sigmoid of 0, doubled: 1
    torch.testing.assert_close(fusion.channel_gate(stages()), torch.ones(2, 5))
    torch.testing.assert_close(vector, fusion(stages()) * gate)


def test_share_of_foreground_is_the_last_feature():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="guided").eval()
    fusion.share_scale.mean[:] = -2  # the logarithm of one per cent
    fusion.share_scale.variance[:] = 0.25
    one_percent = torch.full((2, 1, 8, 8), 0.01)
    assert fusion(stages(), one_percent)[0, -1].item() == pytest.approx(0, abs=2e-3)
    assert fusion(stages(), one_percent * 10)[0, -1].item() == pytest.approx(2, abs=1e-2)


def test_guided_pooling_asks_for_the_foreground():
    fusion = AttentionFusion(nn.Conv2d, [4, 6], channels=5, pooling="guided")
    for ask in (fusion, lambda features: fusion.guidance_maps(features, None)):
        with pytest.raises(ValueError, match="expected the foreground probability"):
            ask(stages())


@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
def test_half_precision_of_the_surroundings_does_not_reach_the_sums(pooling):
    torch.manual_seed(0)
    fusion = AttentionFusion(nn.Conv2d, [4], channels=5, pooling=pooling).eval()
    stage = [torch.randn(1, 4, 256, 256)]  # a voxel weighs 1.5e-5
    foreground = torch.rand(1, 1, 256, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = fusion(stage, foreground)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, fusion(stage, foreground), rtol=0, atol=1e-6)
