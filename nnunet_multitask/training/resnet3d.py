"""ResNet3D-18 as a trainer: classification alone, inside nnU-Net, on whole scans or on patches."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_multitask.config import PLANS_KEY
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.model import targets_of_plans
from nnunet_multitask.networks.resnet3d import ResNet3D
from nnunet_multitask.training.best_loss import BestLossMixin
from nnunet_multitask.training.multitask import MultiTaskMixin


class ResNet3DMixin(BestLossMixin, MultiTaskMixin):
    """Trains a network that classifies and does not segment, on any three-dimensional plans.

    Labels, class weights, schedule, scores and aggregation over tiles are those of the multi-task trainer. Its masks
    are empty, its segmentation loss is 0, and so is nnU-Net's pseudo Dice, so that ``checkpoint_best`` is that of the
    first epoch; ``checkpoint_best_loss`` is the best of the classification.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net reads this signature
    ) -> None:
        _check_three_dimensional(plans, configuration)  # before nnU-Net makes its folders
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Return the ResNet for the targets that the plans name; the plans' own network is not built."""
        plans = plans_manager.plans
        targets = targets_of_plans(plans, f"plans {plans_manager.plans_name}")
        return ResNet3D(
            num_input_channels,
            num_output_channels,
            {name: target.num_outputs for name, target in targets.items()},
            has_regions=bool(plans[PLANS_KEY].get("has_regions", False)),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group: all of this network is the branch."""
        return [{"params": list(self.network.parameters())}]

    def _check_balance(self) -> None:
        """Refuse a balance of two losses.

        Raises:
            InputError: there is one.
        """
        super()._check_balance()
        if self.config.loss_balancing != "fixed":
            raise InputError(
                "contradiction",
                f"plans {self.plans_manager.plans_name}, loss_balancing",
                f"expected 'fixed' of a network with one loss, got {self.config.loss_balancing!r}",
                "set loss_balancing=fixed",
            )

    def _build_loss(self) -> Any:
        return _NoLoss()


class _NoLoss(nn.Module):
    """Stands for the loss of a segmentation that there is none of."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.new_zeros(())


def _check_three_dimensional(plans: dict[str, Any], configuration: str) -> None:
    patch_size = PlansManager(plans).get_configuration(configuration).patch_size
    if len(patch_size) != 3:
        raise InputError(
            "not-three-dimensional",
            f"plans {plans.get('plans_name')}, {configuration}",
            f"expected a three-dimensional patch, got {'x'.join(map(str, patch_size))}",
            "train nnUNetTrainerResNet3D on 3d_fullres",
        )
