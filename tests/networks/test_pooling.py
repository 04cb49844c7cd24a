"""Pooling in few passes against the same written plainly, value and gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_multitask.networks.attention_fusion import AttentionFusion
from nnunet_multitask.networks.pooling import (
    AttendedPooling,
    attention_over_voxels,
    foreground_of_stages,
    guide_weights,
)


def plain_pooling(stage, score, guide):
    """Return (B, P, C): every weight of every voxel written out, and autograd's own gradient."""
    voxels = stage.flatten(2)
    rows = [torch.full_like(voxels[:, :1], 1 / voxels.shape[2]), torch.softmax(score(stage).flatten(2), dim=2)]
    return torch.bmm(torch.cat(rows if guide is None else [*rows, guide], dim=1), voxels.transpose(1, 2))


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("size", [(9, 7), (4, 6, 5)])
def test_attended_pooling_is_the_plain_one_and_so_is_its_gradient(size, guided):
    torch.manual_seed(0)
    conv = nn.Conv2d if len(size) == 2 else nn.Conv3d
    score = conv(3, 1, kernel_size=1)
    stage = torch.randn(2, 3, *size, requires_grad=True)
    guide = guide_weights(torch.rand(2, 1, *size)) if guided else None
    pull = torch.randn(2, 3 if guided else 2, 3)
    found = []
    for pool in (
        lambda: plain_pooling(stage, score, guide),
        lambda: AttendedPooling.apply(stage, score.weight, score.bias, guide),
    ):
        vector = pool()
        found.append((vector, *torch.autograd.grad((vector * pull).sum(), (stage, score.weight, score.bias))))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_no_gradient_is_made_for_a_stage_that_is_detached():
    weight = torch.randn(1, 2, 1, 1, requires_grad=True)
    stage = torch.randn(1, 2, 3, 3)
    AttendedPooling.apply(stage, weight, torch.zeros(1, requires_grad=True), None).sum().backward()
    assert stage.grad is None
    assert weight.grad.abs().sum() > 0


def test_second_derivative_is_refused_rather_than_wrong():
    stage = torch.randn(1, 2, 3, 3, requires_grad=True)
    vector = AttendedPooling.apply(stage, torch.ones(1, 2, 1, 1, requires_grad=True), torch.zeros(1), None)
    (gradient,) = torch.autograd.grad(vector.square().sum(), stage, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_attention_by_hand():
    stage = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).view(1, 2, 1, 2)  # two voxels: (0, 2) and (1, 0)
    weights = attention_over_voxels(stage, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(weights, torch.softmax(torch.tensor([[[2.0, 1.0]]]), dim=2))
    vector = AttendedPooling.apply(stage, torch.ones(2), torch.zeros(1), torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(vector[0, 0], torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(vector[0, 1], torch.tensor([weights[0, 0, 1], 2 * weights[0, 0, 0]]))
    torch.testing.assert_close(vector[0, 2], torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("sizes", [[(16, 12), (8, 6), (8, 3)], [(16, 12), (7, 5), (3, 2)]])
def test_foreground_of_each_stage_is_that_of_the_finest(sizes):
    torch.manual_seed(0)
    foreground = torch.rand(2, 1, 16, 12)
    levels = foreground_of_stages(foreground, sizes)
    for level, size in zip(levels, sizes, strict=True):
        torch.testing.assert_close(level, functional.adaptive_avg_pool2d(foreground, size))


def test_foreground_in_3d():
    foreground = torch.rand(1, 1, 4, 8, 8)
    finest, coarse = foreground_of_stages(foreground, [(4, 8, 8), (2, 4, 4)])
    assert torch.equal(finest, foreground)
    torch.testing.assert_close(coarse, functional.adaptive_avg_pool3d(foreground, (2, 4, 4)))


def test_guide_without_foreground_is_the_plain_mean():
    torch.testing.assert_close(guide_weights(torch.zeros(1, 1, 2, 2)), torch.full((1, 1, 4), 0.25))


@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
def test_fused_vector_is_that_of_plain_pooling(pooling):
    torch.manual_seed(0)
    fusion = AttentionFusion(nn.Conv3d, [4, 6], channels=5, pooling=pooling).eval()
    features = [torch.randn(2, 4, 4, 8, 8), torch.randn(2, 6, 2, 4, 4)]
    foreground = torch.rand(2, 1, 4, 8, 8)
    vector = fusion(features, foreground)
    vectors = []
    for index, stage in enumerate(features):
        mask = functional.adaptive_avg_pool3d(foreground, stage.shape[2:]).flatten(2) + 1e-6
        rows = [torch.full_like(mask, 1 / mask.shape[2])]
        if fusion.attention is not None:
            rows.append(torch.softmax(fusion.attention[index](stage).flatten(2), dim=2))
        if pooling == "guided":
            rows.append(mask / mask.sum(dim=2, keepdim=True))
        vectors.append(fusion.projections[index](torch.cat(rows, dim=1) @ stage.flatten(2).transpose(1, 2)))
    stages = torch.stack(vectors, dim=1)
    gate = 2 * fusion.channel_attention(stages.mean(dim=(1, 2)))
    expected = ((stages * 0.5).sum(dim=1) * gate[:, None]).flatten(1)
    torch.testing.assert_close(vector[:, : expected.shape[1]], expected, rtol=1e-5, atol=1e-6)
