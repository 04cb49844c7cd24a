"""The system of Xiao, Lai and Liang 2025 as a trainer: their network, and Dice alone as segmentation loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nnunet_multitask.config import PLANS_KEY, config_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.networks.xiao2025 import Xiao2025Network
from nnunet_multitask.training.best_loss import BestLossMixin
from nnunet_multitask.training.multitask import MultiTaskMixin

RECIPE_BRANCHES = {"xiao2025": False, "xiao2025-released": True}  # whether the branch is that of the released code


class Xiao2025Mixin(BestLossMixin, MultiTaskMixin):
    """Puts the paper's network on plans of ``nnunet-multitask configure --recipe xiao2025``, and on no others.

    All else is in these plans, and holds for every trainer that is used on them.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net reads this signature
    ) -> None:
        check_recipe(plans)  # before nnU-Net makes its folders
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False  # the paper's decoder has one output

    @classmethod
    def add_branch(cls, unet: nn.Module, num_outputs: Mapping[str, int], plans: Mapping[str, Any]) -> nn.Module:
        """Return the paper's network, or that of the released code where the recipe is its."""
        released = RECIPE_BRANCHES[check_recipe(plans)]
        return Xiao2025Network(unet, num_outputs, config_from_plans(plans), released=released)

    def _build_loss(self) -> Any:
        """Return nnU-Net's segmentation loss without its cross-entropy: the paper's is that of the classes."""
        loss = innermost = super()._build_loss()
        while not hasattr(innermost, "weight_ce"):
            innermost = innermost.loss
        innermost.weight_ce = 0
        return loss


def check_recipe(plans: Mapping[str, Any]) -> str:
    """Return the recipe of the plans.

    Raises:
        InputError: it is not the paper's.
    """
    recipe = plans.get(PLANS_KEY, {}).get("recipe")
    if recipe not in RECIPE_BRANCHES:
        dataset = str(plans.get("dataset_name", "DATASET"))
        raise InputError(
            "other-recipe",
            f"plans {plans.get('plans_name')}",
            f"expected plans of a recipe among {', '.join(RECIPE_BRANCHES)}, got {recipe or 'plans of none'}",
            f"run `nnunet-multitask configure {dataset} --recipe xiao2025 --name xiao2025` and train with -p xiao2025",
        )
    return str(recipe)
