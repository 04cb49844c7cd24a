import copy
import json

import pytest

from nnunet_multitask.config import SHORT_SCHEDULE, config_from_plans, schedule_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.workflows.configure import derive_plans

PLANS = {
    "plans_name": "nnUNetPlans",
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "batch_size": 2,
            "patch_size": [16, 128, 128],
            "architecture": {
                "arch_kwargs": {
                    "n_stages": 4,
                    "features_per_stage": [32, 64, 128, 256],
                    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
                    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
                    "n_conv_per_stage": [2, 2, 2, 1],
                    "n_conv_per_stage_decoder": [1, 2, 3],
                }
            },
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    },
}


def derive(**changes):
    return derive_plans(PLANS, "small", "3d_fullres", **changes)


def test_nothing_given_changes_the_name_only_and_not_the_original():
    before = copy.deepcopy(PLANS)
    new = derive()
    assert before == PLANS
    assert new["plans_name"] == "small"
    assert new["configurations"] == PLANS["configurations"]


def test_fewer_features_drop_the_coarsest_stages():
    settings = derive(features=[8, 16, 32])["configurations"]["3d_fullres"]
    kwargs = settings["architecture"]["arch_kwargs"]
    assert kwargs["n_stages"] == 3
    assert kwargs["features_per_stage"] == [8, 16, 32]
    assert kwargs["strides"] == [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    assert kwargs["n_conv_per_stage"] == [2, 2, 2]
    assert kwargs["n_conv_per_stage_decoder"] == [2, 3]
    assert settings["data_identifier"] == "nnUNetPlans_3d_fullres"  # the preprocessed data are shared


def test_settings_reach_the_trainers():
    new = derive(batch_size=5, config={"dropout": 0.4}, schedule={"epochs": 7})
    assert new["configurations"]["3d_fullres"]["batch_size"] == 5
    assert config_from_plans(new).dropout == 0.4
    assert schedule_from_plans(new, SHORT_SCHEDULE).epochs == 7
    again = derive_plans(new, "smaller", "3d_fullres", schedule={"iterations": 3})
    assert schedule_from_plans(again, SHORT_SCHEDULE).epochs == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": [16, 100, 96]}, r"multiples of 4x8x8.*got 16x100x96 -> use --patch-size 16,96,96"),
        ({"patch_size": [96, 96]}, "expected 3 numbers, got 2"),
        ({"patch_size": [4, 8, 8]}, "more than one voxel at the coarsest stage"),
        ({"features": [8, 8]}, "3 to 4 positive numbers"),
        ({"features": [8, 8, 8, 8, 8]}, "3 to 4 positive numbers"),
        ({"batch_size": 0}, "1 or more, got 0"),
        ({"schedule": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"config": {"pooling": "max"}}, "pooling must be one of"),
    ],
)
def test_values_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        derive(**changes)


def test_configuration_must_exist_and_have_a_network():
    with pytest.raises(InputError, match="expected one of 3d_fullres, 3d_cascade_fullres, got '2d'"):
        derive_plans(PLANS, "small", "2d")
    with pytest.raises(InputError, match="configure 3d_fullres instead"):
        derive_plans(PLANS, "small", "3d_cascade_fullres")


def test_plans_stay_json():
    assert json.loads(json.dumps(derive(features=(8, 16, 32), patch_size=(4, 8, 8)))) is not None


@pytest.mark.parametrize("block", [[1], {"config": []}])
def test_plans_whose_block_has_another_form_are_refused(block):
    with pytest.raises(InputError, match=r"\[bad-plans\] plans nnUNetPlans: expected an object under 'multitask"):
        derive_plans({**PLANS, "multitask": block}, "small", "3d_fullres")


def test_settings_of_branch_and_schedule_that_cannot_both_be_had_are_refused():
    with pytest.raises(InputError, match=r"\[contradiction\] plans small, loss_balancing: .* got 1 samples at a time"):
        derive(config={"loss_balancing": "pcgrad"}, schedule={"micro_batch_size": 1})
