"""The networks of the published systems: their contract with nnU-Net, their attention, their size in the paper."""

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.gradient_probe import new_probe
from nnunet_multitask.networks.resnet3d import ResNet3D
from nnunet_multitask.networks.xiao2025 import ChannelAttention, FusedScales, SpatialAttention, Xiao2025Network
from nnunet_multitask.workflows.recipes import RECIPES, architecture

OUTPUTS = {"subtype": 2, "ich": 1, "findings": 5}


def unet(features=(4, 6, 8, 8, 8)):
    plans = architecture(features)
    arguments = (plans["network_class_name"], plans["arch_kwargs"], plans["_kw_requires_import"], 1, 2)
    return get_network_from_plans(*arguments, allow_init=False, deep_supervision=False)


@pytest.fixture(params=[False, True], ids=["paper", "released"])
def released(request):
    torch.manual_seed(0)
    return request.param


def test_segmentation_is_the_unets_and_classes_come_beside_it(released):
    base = unet()
    network = Xiao2025Network(base, OUTPUTS, MultiTaskConfig(fusion_channels=8), released=released).eval()
    x = torch.randn(2, 1, 32, 32, 32)
    expected = base.eval()(x)
    assert torch.equal(network(x), expected)
    segmentation, logits = network(x, classify=True)
    assert torch.equal(segmentation, expected)
    assert {name: tuple(value.shape) for name, value in logits.items()} == {n: (2, k) for n, k in OUTPUTS.items()}
    kept = {name for name in network.state_dict() if not name.startswith(("fusion.", "heads."))}
    assert kept == set(base.state_dict())


@pytest.mark.parametrize("detach", [False, True])
def test_classes_train_the_encoder_unless_detached_and_the_whole_branch_always(released, detach):
    config = MultiTaskConfig(fusion_channels=8, dropout=0, detach_features=detach)
    network = Xiao2025Network(unet(), OUTPUTS, config, released=released)
    _, logits = network(torch.randn(2, 1, 32, 32, 32), classify=True)
    # not the sum: to it group normalisation of a single voxel would be constant
    sum(value.square().sum() for value in logits.values()).backward()
    branch = {name: p for name, p in network.named_parameters() if name.startswith(("fusion.", "heads."))}
    assert [name for name, p in branch.items() if p.grad is None] == []
    encoder = [p.grad for p in network.encoder.parameters()]
    assert all(gradient is None for gradient in encoder) is detach
    assert all(p.grad is None for name, p in network.named_parameters() if ".seg_layers." in name)


def test_every_trained_parameter_has_a_gradient(released):
    network = Xiao2025Network(unet(), {"a": 2}, MultiTaskConfig(fusion_channels=8), released=released)
    segmentation, logits = network(torch.randn(2, 1, 32, 32, 32), classify=True)
    (segmentation.square().mean() + logits["a"].square().mean()).backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_all_scales_reach_the_paper_s_fusion_and_the_last_one_alone_the_released(released):
    network = Xiao2025Network(unet(), {"a": 2}, MultiTaskConfig(fusion_channels=8, dropout=0), released=released).eval()
    features = network.encoder(torch.randn(1, 1, 32, 32, 32))
    before = network.fusion(features)
    changes = []
    for index in range(5):
        moved = [stage + torch.randn_like(stage) if i == index else stage for i, stage in enumerate(features)]
        changes.append(not torch.allclose(network.fusion(moved), before))
    assert changes == ([False] * 4 + [True] if released else [True] * 5)


def test_probe_sees_both_tasks_where_they_meet(released):
    config = MultiTaskConfig(fusion_channels=8, dropout=0)
    network = Xiao2025Network(unet(), {"a": 2}, config, released=released)
    x = torch.randn(2, 1, 32, 32, 32)
    probe = new_probe(x.device)
    segmentation, logits = network(x, classify=True, probe=probe)
    (segmentation.square().mean() + logits["a"].square().mean()).backward()
    assert (probe.grad[:2] > 0).all()
    probe, resnet = new_probe(x.device), ResNet3D(1, 2, {"a": 2})
    resnet(x, classify=True, probe=probe)[1]["a"].square().mean().backward()
    assert probe.grad.tolist() == [0, 0, 0]


def test_fused_maps_have_the_grid_of_the_coarsest_stage():
    features = [torch.randn(2, width, size, size, size) for width, size in ((4, 16), (6, 8), (8, 4))]
    fusion = FusedScales([4, 6, 8], channels=8)
    assert fusion.fused_maps(features).shape == (2, 8, 4, 4, 4)
    assert fusion(features).shape == (2, 16)


def test_channel_attention_is_the_sigmoid_of_what_mean_and_maximum_score():
    attention = ChannelAttention(1)
    first, last = attention.layers[0], attention.layers[2]
    for parameter, value in ((first.weight, 1.0), (first.bias, 0.0), (last.weight, 2.0), (last.bias, 0.0)):
        torch.nn.init.constant_(parameter, value)
    maps = torch.tensor([0.0, 1.0, 2.0, 5.0]).view(1, 1, 1, 2, 2)  # mean 2, maximum 5
    assert attention(maps).item() == pytest.approx(torch.sigmoid(torch.tensor(2.0 * 2 + 2.0 * 5)).item())


def test_spatial_attention_looks_at_mean_and_maximum_over_the_channels():
    attention = SpatialAttention(kernel_size=1)
    torch.nn.init.constant_(attention.conv.bias, 0.0)
    attention.conv.weight.data = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)
    maps = torch.tensor([[1.0, 0.0], [3.0, 0.0]]).view(1, 2, 1, 1, 2)  # at the first place mean 2 and maximum 3
    weights = attention(maps)
    assert weights.shape == (1, 1, 1, 1, 2)
    assert weights.flatten().tolist() == pytest.approx([torch.sigmoid(torch.tensor(-1.0)).item(), 0.5])


def test_class_of_a_scan_does_not_depend_on_its_batch(released):
    network = Xiao2025Network(unet(), {"a": 2}, MultiTaskConfig(fusion_channels=8), released=released).eval()
    x = torch.randn(3, 1, 32, 32, 32)
    alone = torch.cat([network(x[i : i + 1], classify=True)[1]["a"] for i in range(3)])
    torch.testing.assert_close(network(x, classify=True)[1]["a"], alone, rtol=1e-4, atol=1e-5)


def test_compiles_into_one_graph(released):
    network = Xiao2025Network(unet(), {"a": 2}, MultiTaskConfig(fusion_channels=8), released=released).eval()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.randn(1, 1, 32, 32, 32)
    torch.testing.assert_close(compiled(x, classify=True)[1], network(x, classify=True)[1], rtol=1e-4, atol=1e-5)


def test_sizes_of_the_paper(released):
    recipe = RECIPES["xiao2025-released" if released else "xiao2025"]
    with torch.device("meta"):
        network = Xiao2025Network(
            unet(recipe.features), {"subtype": 2}, MultiTaskConfig(**recipe.config), released=released
        )
        x = torch.empty(1, 1, *recipe.patch_size)
        stages = [tuple(stage.shape[1:]) for stage in network.encoder(x)]
        segmentation, logits = network(x, classify=True)
    assert stages == [(16, *[128] * 3), (48, *[64] * 3), (96, *[32] * 3), (192, *[16] * 3), (384, *[8] * 3)]
    assert segmentation.shape == (1, 2, 128, 128, 128)
    assert logits["subtype"].shape == (1, 2)
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (("all", network), ("branch", network.fusion), ("heads", network.heads))
    }
    print("released" if released else "paper", counts)
    assert counts["branch"] + counts["heads"] == (16_187_506 if released else 291_317)


def test_resnet_classifies_and_says_background_everywhere():
    torch.manual_seed(0)
    network = ResNet3D(2, 3, OUTPUTS).eval()
    x = torch.randn(2, 2, 32, 32, 32)
    segmentation, logits = network(x, classify=True)
    assert torch.equal(segmentation, network(x))
    assert segmentation.shape == (2, 3, 32, 32, 32)
    assert (segmentation.argmax(dim=1) == 0).all()
    assert {name: tuple(value.shape) for name, value in logits.items()} == {n: (2, k) for n, k in OUTPUTS.items()}
    assert (ResNet3D(2, 3, OUTPUTS, has_regions=True)(x) < 0).all()


def test_resnet_compiles_into_one_graph():
    network = ResNet3D(1, 2, {"a": 2}).eval()
    x = torch.randn(1, 1, 32, 32, 32)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, classify=True)[1], network(x, classify=True)[1], rtol=1e-4, atol=1e-5)


def test_resnet_is_the_one_of_eighteen_layers():
    with torch.device("meta"):
        network = ResNet3D(1, 2, {"subtype": 2})
        assert network(torch.empty(1, 1, 128, 128, 128), classify=True)[1]["subtype"].shape == (1, 2)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size != (1, 1, 1)]
    assert len(layers) + 1 == 18  # and the linear head
    assert layers[0].in_channels == 1
    count = sum(p.numel() for p in network.parameters())
    print("ResNet3D-18:", count)
    assert count == 33_161_026
