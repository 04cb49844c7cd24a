"""What ``nnUNet_extTrainer`` points nnU-Net at: the trainers, under the names it searches for."""

from nnunet_multitask.training.trainers import (
    nnUNetTrainerBaseline,
    nnUNetTrainerBaselineShort,
    nnUNetTrainerMultiTask,
    nnUNetTrainerMultiTaskShort,
)

__all__ = [
    "nnUNetTrainerBaseline",
    "nnUNetTrainerBaselineShort",
    "nnUNetTrainerMultiTask",
    "nnUNetTrainerMultiTaskShort",
]
