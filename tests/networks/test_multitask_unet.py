import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet
from unets import unet

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet, foreground_probability

OUTPUTS = {"subtype": 2, "ich": 1}


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet, ResidualUNet])
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
    idle = [name for name, p in branch.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == [f"fusion.attention.{stage}.bias" for stage in range(3)]  # a softmax takes no notice of a constant
    assert all(p.grad is not None for p in branch.values())  # what distributed training asks for
    assert all(p.grad is None for name, p in network.named_parameters() if ".seg_layers." in name)
    assert network.encoder.stages[0][0].convs[0].conv.weight.grad.abs().sum() > 0


def test_detached_features_leave_the_encoder_to_segmentation():
    torch.manual_seed(0)
    base = unet()
    networks = [
        MultiTaskUNet(base, OUTPUTS, MultiTaskConfig(dropout=0, detach_features=detach)) for detach in (True, False)
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.randn(2, 1, 16, 16, 16)
    detached, joint = (network.eval()(x, classify=True)[1]["subtype"] for network in networks)
    assert torch.equal(detached, joint)
    detached[:, 0].sum().backward()
    assert all(p.grad is None for p in base.parameters())
    assert networks[0].fusion.projections[0][0].weight.grad.abs().sum() > 0


# features of nnU-Net's plans for HemSeg-200: 3d_fullres, where the limit is the project's own, and 2d with 8 stages
LIMITS = {3: 60_000, 2: 90_000}


@pytest.mark.parametrize(
    ("dimensions", "features"),
    [(3, (32, 64, 128, 256, 320, 320)), (2, (32, 64, 128, 256, 512, 512, 512, 512))],
)
@pytest.mark.parametrize("pooling", ["average", "attention", "guided"])
def test_branch_is_small_for_the_full_size_plans(dimensions, features, pooling):
    with torch.device("meta"):
        network = MultiTaskUNet(
            unet(dimensions=dimensions, features=features), {"subtype": 2}, MultiTaskConfig(pooling=pooling)
        )
    branch = {
        part: sum(p.numel() for name, p in network.named_parameters() if name.startswith(f"{part}."))
        for part in ("fusion", "heads")
    }
    print(f"{dimensions}d, {pooling}: fusion {branch['fusion']} and heads {branch['heads']} parameters")
    assert sum(branch.values()) <= LIMITS[dimensions], branch


def test_foreground_is_what_is_not_background_or_the_likeliest_region():
    logits = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    exclusive = 1 - 1 / (1 + torch.e + torch.e**2)
    assert foreground_probability(logits, has_regions=False).item() == pytest.approx(exclusive)
    assert foreground_probability(logits, has_regions=True).item() == pytest.approx(1 / (1 + torch.e**-2))
