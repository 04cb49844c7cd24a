"""The trainers by the names that ``nnUNetv2_train -tr`` takes."""

from __future__ import annotations

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_multitask.training.multitask import MultiTaskMixin
from nnunet_multitask.training.resnet3d import ResNet3DMixin
from nnunet_multitask.training.settings import ShortScheduleMixin, TrainingSettingsMixin
from nnunet_multitask.training.xiao2025 import Xiao2025Mixin


class nnUNetTrainerMultiTask(MultiTaskMixin, nnUNetTrainer):
    """nnU-Net's trainer with a classification branch; its schedule is nnU-Net's unless the plans say otherwise."""


class nnUNetTrainerBaseline(TrainingSettingsMixin, nnUNetTrainer):
    """nnU-Net without the branch, with folds, sampling and schedule as ``nnUNetTrainerMultiTask`` has them."""


class nnUNetTrainerMultiTaskShort(MultiTaskMixin, ShortScheduleMixin, nnUNetTrainer):
    """The multi-task trainer on the short schedule."""


class nnUNetTrainerBaselineShort(ShortScheduleMixin, nnUNetTrainer):
    """nnU-Net without the branch on the short schedule: all else is as in ``nnUNetTrainerMultiTaskShort``."""


class nnUNetTrainerMultiTask_Xiao2025(Xiao2025Mixin, nnUNetTrainer):
    """The joint system of Xiao, Lai and Liang 2025, on plans of its recipe; see docs/xiao-2025.md."""


class nnUNetTrainerResNet3D(ResNet3DMixin, nnUNetTrainer):
    """ResNet3D-18, which classifies alone, on plans of a recipe or on nnU-Net's own."""
