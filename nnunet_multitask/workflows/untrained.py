"""The network as it was before training."""

from __future__ import annotations

import contextlib
import io

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import nn

from nnunet_multitask.config import ScheduleConfig, schedule_from_plans
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.training.resuming import seed_of_epoch


def untrained_network(predictor: MultiTaskPredictor) -> nn.Module:
    """Return the network with the weights that training began from, by the seed of its schedule.

    A training that began from other weights (``-pretrained_weights``) did not begin there.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net tells where it looks, a second time
        trainer = recursive_find_trainer_class_by_name(predictor.trainer_name)
    plans, settings = predictor.plans_manager, predictor.configuration_manager
    schedule = schedule_from_plans(plans.plans, getattr(trainer, "default_schedule", ScheduleConfig()))
    channels = determine_num_input_channels(plans, settings, predictor.dataset_json)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of_epoch(schedule.seed))
        network: nn.Module = trainer.build_network_architecture(
            plans, settings, channels, predictor.label_manager.num_segmentation_heads, False
        )
    return network.to(predictor.device).eval()
