"""The branch on every network class that nnU-Net's planners and trainers know, and its refusal of the others."""

import pytest
import torch
from dynamic_network_architectures.architectures.primus import Primus
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet, check_architecture

UNETS = "dynamic_network_architectures.architectures.unet"
RESENC_BLOCKS = {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6, 6, 6], "n_conv_per_stage_decoder": [1] * 7}
PLAIN_BLOCKS = {"n_conv_per_stage": [2] * 8, "n_conv_per_stage_decoder": [2] * 7}
# strides and kernels that the planners give HemSeg-200 (5x0.45x0.45 mm, 33x512x512 voxels); features by an eighth
FLAT, DEEP = [1, 2, 2], [2, 2, 2]
STRIDES_3D = {
    "nnUNetPlannerResEncM": [[1, 1, 1], FLAT, FLAT, FLAT, DEEP, DEEP, FLAT],
    "nnUNetPlannerResEncL": [[1, 1, 1], FLAT, FLAT, FLAT, DEEP, DEEP, FLAT],
    "nnUNetPlannerResEncXL": [[1, 1, 1], FLAT, FLAT, FLAT, DEEP, DEEP, DEEP],
}


def arch_kwargs(strides, features, blocks):
    """Return what the planners write into ``arch_kwargs``, before its names of classes are looked up."""
    stages, dimensions = len(strides), len(strides[0])
    return {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [([1] if stage < 3 else [3]) * (dimensions - 2) + [3, 3] for stage in range(stages)],
        "strides": strides,
        "n_conv_per_stage_decoder": blocks["n_conv_per_stage_decoder"][: stages - 1],
        **{name: value[:stages] for name, value in blocks.items() if name != "n_conv_per_stage_decoder"},
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def check_network(class_name, strides, features, blocks, patch, deep_supervision):
    kwargs = arch_kwargs(strides, features, blocks)
    name = f"{UNETS}.{class_name}"
    check_architecture(name, "plans test")
    torch.manual_seed(0)
    imports = ("conv_op", "norm_op", "dropout_op", "nonlin")
    base = get_network_from_plans(name, kwargs, imports, 1, 2, deep_supervision=deep_supervision)
    network = MultiTaskUNet(base, {"subtype": 2}, MultiTaskConfig(fusion_channels=4))
    x = torch.randn(2, 1, *patch)
    segmentation, logits = network(x, classify=True)
    levels, expected = ([found] if isinstance(found, torch.Tensor) else found for found in (segmentation, base(x)))
    assert len(levels) == (len(strides) - 1 if deep_supervision else 1)
    assert levels[0].shape == (2, 2, *patch)
    assert all(torch.equal(*pair) for pair in zip(levels, expected, strict=True))
    assert logits["subtype"].shape == (2, 2)
    logits["subtype"][:, 0].sum().backward()
    assert torch.isfinite(network.fusion.projections[0][0].weight.grad).all()


@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("planner", STRIDES_3D)
def test_residual_encoder_plans_in_3d(planner, deep_supervision):
    features = [4, 8, 16, 32, 40, 40, 40]
    check_network("ResidualEncoderUNet", STRIDES_3D[planner], features, RESENC_BLOCKS, [8, 128, 128], deep_supervision)


@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize(
    ("class_name", "blocks"),
    [("PlainConvUNet", PLAIN_BLOCKS), ("ResidualEncoderUNet", RESENC_BLOCKS), ("ResidualUNet", RESENC_BLOCKS)],
)
def test_every_class_in_2d(class_name, blocks, deep_supervision):
    strides = [[1, 1], *[[2, 2]] * 7]
    check_network(class_name, strides, [4, 8, 16, 32, 64, 64, 64, 64], blocks, [256, 256], deep_supervision)


@pytest.mark.parametrize("class_name", ["PlainConvUNet", "ResidualUNet"])
def test_the_other_classes_in_3d(class_name):
    blocks = PLAIN_BLOCKS if class_name == "PlainConvUNet" else RESENC_BLOCKS
    check_network(class_name, STRIDES_3D["nnUNetPlannerResEncM"], [4] * 7, blocks, [8, 128, 128], True)


def test_primus_is_refused_as_a_network():
    primus = Primus(1, 48, (8, 8, 8), 2, eva_depth=1, eva_numheads=2, input_shape=(16, 16, 16))
    with pytest.raises(InputError, match=r"\[unsupported-network\] plans: network Primus: .*convolutional encoder.*"):
        MultiTaskUNet(primus, {"subtype": 2}, MultiTaskConfig())


@pytest.mark.parametrize(
    "name", ["dynamic_network_architectures.architectures.primus.Primus", "torch.nn.modules.linear.Linear"]
)
def test_plans_with_another_network_are_refused_before_it_is_built(name):
    shown = name.rpartition(".")[2]
    with pytest.raises(InputError, match=rf"plans mine: network {shown}: .* -> use plans with PlainConvUNet or Res"):
        check_architecture(name, "plans mine")


def test_a_class_that_is_not_found_is_left_to_nnunet():
    check_architecture("dynamic_network_architectures.moved.PlainConvUNet", "plans mine")
