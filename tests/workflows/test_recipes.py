"""The recipes as data: what the paper says, and the plans that come of it."""

import copy

import pytest

from nnunet_multitask.config import MultiTaskConfig, ScheduleConfig, config_from_plans, schedule_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.training.xiao2025 import RECIPE_BRANCHES
from nnunet_multitask.workflows.configure import derive_plans
from nnunet_multitask.workflows.recipes import RECIPES, in_plane_spacing_mm, recipe_plans

PLANS = {
    "dataset_name": "Dataset200_HemSeg200",
    "plans_name": "nnUNetPlans",
    "transpose_forward": [1, 0, 2],
    "transpose_backward": [1, 0, 2],
    "original_median_spacing_after_transp": [0.5, 5.0, 0.4],
    "original_median_shape_after_transp": [500, 30, 400],
    "configurations": {
        "2d": {},
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "normalization_schemes": ["CTNormalization"],
            "batch_dice": True,
        },
    },
    "multitask": {"config": {"dropout": 0.2}},
}
# 200 scans of 512 x 512: most of 250 mm, one of 320 mm
FINGERPRINT = {
    "shapes_after_crop": [[30, 512, 512]] * 199 + [[40, 512, 400]],
    "spacings": [[5.0, 250 / 512, 250 / 512]] * 199 + [[3.0, 320 / 512, 320 / 512]],
}


def test_schedule_is_the_papers():
    plans = recipe_plans(PLANS, FINGERPRINT, "xiao2025", "xiao2025")
    schedule = schedule_from_plans(plans, ScheduleConfig())
    assert (schedule.epochs, schedule.optimizer) == (300, "adam")
    assert (schedule.learning_rate, schedule.weight_decay) == (5e-4, 1e-4)
    assert schedule.decay == "cosine_restarts"
    assert schedule.early_stopping_patience == 50
    settings = plans["configurations"]["3d_fullres"]
    assert settings["batch_size"] == 16
    assert settings["batch_size"] % schedule.micro_batch_size == 0
    assert schedule.iterations * settings["batch_size"] == 160  # an epoch is one pass over the training scans
    assert (schedule.val_iterations - 1) * settings["batch_size"] < 40 <= schedule.val_iterations * 16
    config = config_from_plans(plans)
    assert (config.classification_weight, config.class_weights) == (1.0, "balanced")
    assert not config.detach_features


def test_the_whole_scan_is_one_patch():
    settings = recipe_plans(PLANS, FINGERPRINT, "xiao2025", "x")["configurations"]["3d_fullres"]
    assert settings["patch_size"] == [128, 128, 128]
    assert settings["spacing"] == [5.0, 2.5, 2.5]  # 320 mm over 128 voxels
    for shape, spacing in zip(FINGERPRINT["shapes_after_crop"], FINGERPRINT["spacings"], strict=True):
        assert all(
            round(n * old / new) <= size
            for n, old, new, size in zip(shape, spacing, settings["spacing"], settings["patch_size"], strict=True)
        )
    assert settings["median_image_size_in_voxels"] == [30, 100, 100]


def test_spacing_follows_another_patch():
    assert in_plane_spacing_mm(FINGERPRINT, [128, 256, 64]) == pytest.approx(250 / 64)


def test_plans_are_nnunets_apart_from_the_recipe():
    before = copy.deepcopy(PLANS)
    plans = recipe_plans(PLANS, FINGERPRINT, "xiao2025", "mine", patch_size=(32, 64, 64), batch_size=4)
    assert before == PLANS
    assert list(plans["configurations"]) == ["3d_fullres"]
    settings = plans["configurations"]["3d_fullres"]
    assert settings["data_identifier"] == "mine_3d_fullres"  # scans of another spacing lie in another folder
    assert settings["normalization_schemes"] == ["CTNormalization"]
    assert settings["batch_dice"] is False
    assert settings["spacing"] == [5.0, 5.0, 5.0]
    assert plans["multitask"]["schedule"]["iterations"] == 40
    assert plans["transpose_forward"] == plans["transpose_backward"] == [0, 1, 2]
    assert plans["original_median_spacing_after_transp"] == [5.0, 0.5, 0.4]
    assert "dropout" not in PLANS["configurations"]["3d_fullres"]
    assert plans["multitask"]["config"]["dropout"] == 0.6  # what another configure had set does not go into a recipe


def test_a_row_of_the_ablation_is_one_setting():
    plans = recipe_plans(PLANS, FINGERPRINT, "xiao2025", "xiao2025")
    detached = derive_plans(plans, "xiao2025-detach", "3d_fullres", config={"detach_features": True})
    assert config_from_plans(detached).detach_features
    assert detached["multitask"]["recipe"] == "xiao2025"
    assert detached["configurations"] == plans["configurations"]  # the preprocessed scans are shared


def test_released_code_differs_where_it_does():
    plans = recipe_plans(PLANS, FINGERPRINT, "xiao2025-released", "released")
    schedule, config = schedule_from_plans(plans, ScheduleConfig()), config_from_plans(plans)
    assert (schedule.optimizer, schedule.learning_rate, schedule.decay) == ("adamw", 1e-3, "cosine")
    assert schedule.early_stopping_patience == 0
    assert schedule.iterations * plans["configurations"]["3d_fullres"]["batch_size"] == 160
    assert (config.detach_features, config.label_smoothing, config.class_weights) == (True, 0.1, "none")
    assert config.learning_rate_factor * schedule.learning_rate == pytest.approx(5e-5)
    assert config.head_rate_factor == 1


def test_every_recipe_can_be_trained():
    assert set(RECIPE_BRANCHES) == set(RECIPES)
    for recipe in RECIPES.values():
        MultiTaskConfig(**recipe.config)
        ScheduleConfig(**recipe.schedule)


def test_what_cannot_follow_a_recipe_is_refused():
    with pytest.raises(InputError, match=r"\[unknown-recipe\] .*expected one of xiao2025, .*got 'xiao2024'"):
        recipe_plans(PLANS, FINGERPRINT, "xiao2024", "x")
    flat = {**PLANS, "configurations": {"2d": {}}}
    with pytest.raises(InputError, match=r"\[missing-configuration\] .*expected 3d_fullres.*got 2d"):
        recipe_plans(flat, FINGERPRINT, "xiao2025", "x")
