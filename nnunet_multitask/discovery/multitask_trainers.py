"""What ``nnUNet_extTrainer`` points nnU-Net at: the trainers, under the names it searches for."""

from nnunet_multitask.training.trainers import (
    nnUNetTrainerBaselineShort,
    nnUNetTrainerMultiTask,
    nnUNetTrainerMultiTaskShort,
)

__all__ = ["nnUNetTrainerBaselineShort", "nnUNetTrainerMultiTask", "nnUNetTrainerMultiTaskShort"]
