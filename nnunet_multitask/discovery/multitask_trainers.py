"""What ``nnUNet_extTrainer`` points nnU-Net at: the trainers, under the names it searches for."""

from nnunet_multitask.training.trainers import (
    nnUNetTrainerBaseline,
    nnUNetTrainerBaselineShort,
    nnUNetTrainerMultiTask,
    nnUNetTrainerMultiTask_Xiao2025,
    nnUNetTrainerMultiTaskShort,
    nnUNetTrainerResNet3D,
)

__all__ = [
    "nnUNetTrainerBaseline",
    "nnUNetTrainerBaselineShort",
    "nnUNetTrainerMultiTask",
    "nnUNetTrainerMultiTaskShort",
    "nnUNetTrainerMultiTask_Xiao2025",
    "nnUNetTrainerResNet3D",
]
