"""The trainers by the names that ``nnUNetv2_train -tr`` takes."""

from __future__ import annotations

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_multitask.training.multitask import MultiTaskMixin
from nnunet_multitask.training.settings import ShortScheduleMixin, TrainingSettingsMixin


class nnUNetTrainerMultiTask(MultiTaskMixin, nnUNetTrainer):
    """nnU-Net's trainer with a classification branch; its schedule is nnU-Net's unless the plans say otherwise."""


class nnUNetTrainerBaseline(TrainingSettingsMixin, nnUNetTrainer):
    """nnU-Net without the branch, with folds, sampling and schedule as ``nnUNetTrainerMultiTask`` has them."""


class nnUNetTrainerMultiTaskShort(MultiTaskMixin, ShortScheduleMixin, nnUNetTrainer):
    """The multi-task trainer on the short schedule."""


class nnUNetTrainerBaselineShort(ShortScheduleMixin, nnUNetTrainer):
    """nnU-Net without the branch on the short schedule: all else is as in ``nnUNetTrainerMultiTaskShort``."""
