"""A model folder that nobody trained: random weights, two folds, small enough to predict a case in a blink."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_multitask.training.trainers import nnUNetTrainerMultiTask

TARGETS = {
    "ich": {"type": "binary", "classes": ["no", "yes"]},
    "subtype": {"type": "multiclass", "classes": ["IPH", "IVH", "SAH"]},
}
DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "blood": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
_RESAMPLING = {
    f"resampling_fn_{kind}{suffix}": value
    for kind, order, is_seg in (("data", 3, False), ("seg", 1, True), ("probabilities", 1, False))
    for suffix, value in (
        ("", "resample_data_or_seg_to_shape"),
        ("_kwargs", {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}),
    )
}


def toy_plans(dimensions: int = 3, targets: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return plans for images of about 6 x 16 x 20 voxels of 5 x 2 x 2 mm, tiles of 4 x 8 x 8 or 8 x 8 voxels."""
    strides = [[1] * dimensions, [2] * dimensions]
    architecture = {
        "n_stages": 2,
        "features_per_stage": [2, 4],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [[3] * dimensions] * 2,
        "strides": strides,
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "toy",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [4, 8, 8][-dimensions:],
        "median_image_size_in_voxels": [6, 16, 20][-dimensions:],
        "spacing": [5.0, 2.0, 2.0][-dimensions:],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": architecture,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        **_RESAMPLING,
    }
    intensities = {"max": 90.0, "mean": 40.0, "median": 40.0, "min": 0.0, "std": 20.0}
    intensities |= {"percentile_00_5": 0.0, "percentile_99_5": 80.0}
    return {
        "dataset_name": "Dataset999_Toy",
        "plans_name": "toy",
        "original_median_spacing_after_transp": [5.0, 2.0, 2.0],
        "original_median_shape_after_transp": [6, 16, 20],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres" if dimensions == 3 else "2d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
        "multitask": {"targets": targets or TARGETS, "has_regions": False, "patch_targets": ["ich"]},
    }


def make_model(folder: Path, dimensions: int = 3, folds: int = 2, mirroring: tuple[int, ...] | None = (0,)) -> Path:
    """Write a model folder as nnU-Net's training does, and return it."""
    plans = toy_plans(dimensions)
    (name,) = plans["configurations"]
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    for fold in range(folds):
        torch.manual_seed(fold)
        manager = PlansManager(plans)
        network = nnUNetTrainerMultiTask.build_network_architecture(
            manager, manager.get_configuration(name), 1, 2, False
        )
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": "nnUNetTrainerMultiTask",
            "init_args": {"configuration": name, "plans": plans},
            "inference_allowed_mirroring_axes": mirroring,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def make_images(folder: Path, names: tuple[str, ...] = ("a", "b"), shape: tuple[int, int, int] = (6, 16, 20)) -> Path:
    """Write images of noise, (z, y, x), and return their folder."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        voxels = np.random.default_rng(seed).normal(40, 40, shape).astype(np.int16)
        voxels[:, :2] = -1000  # air: a CT
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((2.0, 2.0, 5.0))
        sitk.WriteImage(image, folder / f"{name}_0000.nii.gz")
    return folder
