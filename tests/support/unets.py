"""Small networks of the classes that nnU-Net's plans name."""

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn


def unet(kind=PlainConvUNet, dimensions=3, features=(4, 8, 12), num_classes=2, deep_supervision=False):
    """Return a U-Net with one convolution or block in each stage."""
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
