import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet, foreground_probability

OUTPUTS = {"subtype": 2, "ich": 1}


def unet(kind=PlainConvUNet, dimensions=3, features=(4, 8, 12), num_classes=2, deep_supervision=False):
    conv, norm = (nn.Conv3d, nn.InstanceNorm3d) if dimensions == 3 else (nn.Conv2d, nn.InstanceNorm2d)
    blocks = "n_conv_per_stage" if kind is PlainConvUNet else "n_blocks_per_stage"
    return kind(
        input_channels=1,
        n_stages=len(features),
        features_per_stage=list(features),
        conv_op=conv,
        kernel_sizes=3,
        strides=[1] + [2] * (len(features) - 1),
        num_classes=num_classes,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
        **{blocks: 1},
    )


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
def test_segmentation_is_the_unets_and_classes_come_beside_it(kind, dimensions, pooling):
    torch.manual_seed(0)
    base = unet(kind, dimensions)
    network = MultiTaskUNet(base, OUTPUTS, MultiTaskConfig(pooling=pooling)).eval()
    x = torch.randn(2, 1, *[16] * dimensions)
    expected = base.eval()(x)
    assert torch.equal(network(x), expected)
    segmentation, logits = network(x, classify=True)
    assert torch.equal(segmentation, expected)
    assert {name: tuple(value.shape) for name, value in logits.items()} == {"subtype": (2, 2), "ich": (2, 1)}


def test_deep_supervision_returns_all_scales_and_the_same_classes():
    torch.manual_seed(0)
    network = MultiTaskUNet(unet(deep_supervision=True), OUTPUTS, MultiTaskConfig()).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    segmentation, logits = network(x, classify=True)
    assert [tuple(level.shape[2:]) for level in segmentation] == [(16, 16, 16), (8, 8, 8)]
    network.decoder.deep_supervision = False
    _, without = network(x, classify=True)
    assert torch.equal(logits["subtype"], without["subtype"])


def test_encoder_and_decoder_keep_nnunets_parameter_names():
    base = unet()
    names = set(base.state_dict())
    network = MultiTaskUNet(base, OUTPUTS, MultiTaskConfig())
    kept = {name for name in network.state_dict() if not name.startswith(("fusion.", "heads."))}
    assert kept == names


def test_class_of_a_case_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    network = MultiTaskUNet(unet(), OUTPUTS, MultiTaskConfig()).eval()
    x = torch.randn(3, 1, 16, 16, 16)
    together = network(x, classify=True)[1]["subtype"]
    alone = torch.cat([network(x[i : i + 1], classify=True)[1]["subtype"] for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_of_the_branch_learns_and_the_guide_is_detached():
    torch.manual_seed(0)
    network = MultiTaskUNet(unet(), OUTPUTS, MultiTaskConfig(dropout=0))
    _, logits = network(torch.randn(2, 1, 16, 16, 16), classify=True)
    (logits["subtype"][:, 0].sum() + logits["ich"].sum()).backward()
    branch = {name: p for name, p in network.named_parameters() if name.startswith(("fusion.", "heads."))}
    assert [name for name, p in branch.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(p.grad is None for name, p in network.named_parameters() if ".seg_layers." in name)
    assert network.encoder.stages[0][0].convs[0].conv.weight.grad.abs().sum() > 0


def test_branch_is_small_for_the_full_size_plan():
    # features of nnU-Net's plan for HemSeg-200; the limit is the project's own
    network = MultiTaskUNet(unet(features=(32, 64, 128, 256, 320, 320)), {"subtype": 2}, MultiTaskConfig())
    count = sum(p.numel() for name, p in network.named_parameters() if name.startswith(("fusion.", "heads.")))
    print(f"fusion and heads: {count} parameters")
    assert count <= 60_000


def test_network_without_encoder_and_decoder_is_refused():
    with pytest.raises(InputError, match=r"\[unsupported-network\].*Linear.*PlainConvUNet"):
        MultiTaskUNet(nn.Linear(2, 2), OUTPUTS, MultiTaskConfig())


def test_compiles_into_one_graph():
    torch.manual_seed(0)
    network = MultiTaskUNet(unet(), OUTPUTS, MultiTaskConfig()).eval()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(compiled(x, classify=True)[1], network(x, classify=True)[1])


def test_foreground_is_what_is_not_background_or_the_likeliest_region():
    logits = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    exclusive = 1 - 1 / (1 + torch.e + torch.e**2)
    assert foreground_probability(logits, has_regions=False).item() == pytest.approx(exclusive)
    assert foreground_probability(logits, has_regions=True).item() == pytest.approx(1 / (1 + torch.e**-2))
