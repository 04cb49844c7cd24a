"""The balancers by the names that the settings know."""

from __future__ import annotations

from torch import nn

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses import pcgrad
from nnunet_multitask.losses.balancing import Balancer
from nnunet_multitask.losses.gradnorm import GradNorm
from nnunet_multitask.losses.pcgrad import PCGrad
from nnunet_multitask.losses.uncertainty import UncertaintyWeights


def make_balancer(config: MultiTaskConfig, network: nn.Module, shared: nn.Module) -> Balancer:
    """Return the balancer that the settings name.

    Args:
        config: the settings of the branch.
        network: the network that is trained.
        shared: the part of it that gets a gradient from both tasks.

    Raises:
        InputError: the balancer needs a package that is not installed.
    """
    if config.loss_balancing == "pcgrad":
        ids = {id(parameter) for parameter in shared.parameters()}
        own = [parameter for parameter in network.parameters() if id(parameter) not in ids]
        return PCGrad(config, shared.parameters(), own)
    kinds = {"fixed": Balancer, "uncertainty": UncertaintyWeights, "gradnorm": GradNorm}
    return kinds[config.loss_balancing](config)


def check_available(config: MultiTaskConfig) -> None:
    """Refuse a balancer whose package is missing, before any work starts.

    Raises:
        InputError: names the package and how to install it.
    """
    if config.loss_balancing == "pcgrad":
        pcgrad.check_installed()
