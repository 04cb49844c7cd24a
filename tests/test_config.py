import dataclasses

import pytest

from nnunet_multitask.config import (
    SHORT_SCHEDULE,
    MultiTaskConfig,
    ScheduleConfig,
    config_from_plans,
    differences,
    head_rate_factor,
    parse_value,
    schedule_from_plans,
    settings_from,
)
from nnunet_multitask.errors import InputError


def test_plans_without_block_give_the_defaults():
    assert config_from_plans({"plans_name": "nnUNetPlans"}) == MultiTaskConfig()
    assert schedule_from_plans({"plans_name": "nnUNetPlans"}, SHORT_SCHEDULE) == SHORT_SCHEDULE


def test_plans_change_only_what_they_name():
    plans = {"plans_name": "p", "multitask": {"config": {"dropout": 0.5}, "schedule": {"epochs": 3}}}
    assert config_from_plans(plans) == dataclasses.replace(MultiTaskConfig(), dropout=0.5)
    assert schedule_from_plans(plans, SHORT_SCHEDULE) == dataclasses.replace(SHORT_SCHEDULE, epochs=3)


def test_default_schedule_is_nnunets():
    schedule = ScheduleConfig()
    assert (schedule.epochs, schedule.iterations, schedule.val_iterations) == (1000, 250, 50)
    assert (schedule.optimizer, schedule.learning_rate, schedule.weight_decay) == ("sgd", 1e-2, 3e-5)


def test_unknown_setting_names_the_nearest():
    with pytest.raises(InputError, match=r"\[unknown-setting\] here: .*'droput'.*did you mean 'dropout'"):
        settings_from(MultiTaskConfig(), {"droput": 0.1}, "here")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dropout", 1.5, "between 0 and 0.95, got 1.5"),
        ("dropout", "much", "must be a finite number, got 'much'"),
        ("dropout", float("nan"), "must be a finite number, got nan"),
        ("classification_weight", float("inf"), "must be a finite number, got inf"),
        ("fusion_channels", 8.0, "must be of type int, got 8.0"),
        ("pooling", "max", "must be one of 'average', 'attention', 'guided', got 'max'"),
        ("empty_patch_weight", -0.1, "between 0 and 1, got -0.1"),
        ("classification_loss", "dice", "must be one of 'cross_entropy', 'focal', got 'dice'"),
        ("focal_gamma", -1.0, "at least 0, got -1.0"),
        ("loss_balancing", "sum", "must be one of 'fixed', 'uncertainty', 'gradnorm', 'pcgrad', got 'sum'"),
        ("warmup_epochs", -1, "at least 0, got -1"),
        ("gradnorm_alpha", -0.5, "at least 0, got -0.5"),
        ("balancing_rate", -0.1, "at least 0, got -0.1"),
        ("learning_rate_factor", 0.0, "above 0, got 0.0"),
        ("detach_features", "yes", r"must be on \(true\) or off \(false\), got 'yes'"),
        ("aggregation", "median", "must be one of 'mean', 'gaussian', 'lesion', 'max', 'noisy_or', 'topk'"),
        ("patch_aggregation", "mean", "must be one of 'max', 'noisy_or', 'topk', got 'mean'"),
        ("top_tiles", 0, "at least 1, got 0"),
    ],
)
def test_value_that_does_not_fit_is_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        settings_from(MultiTaskConfig(), {name: value}, "here")


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_learned_weights_need_a_rate(balance):
    with pytest.raises(InputError, match="balancing_rate must be above 0 where weights are learned with it, got 0"):
        settings_from(MultiTaskConfig(), {"loss_balancing": balance, "balancing_rate": 0.0}, "here")


@pytest.mark.parametrize("name", ["epochs", "restart_epochs", "restart_factor"])
def test_schedule_refuses_none(name):
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        settings_from(ScheduleConfig(), {name: 0}, "here")


def test_whole_cases_are_classified_rarely_and_not_on_the_short_schedule():
    assert (ScheduleConfig().case_validation_every, ScheduleConfig().case_validation_cases) == (50, 20)
    assert SHORT_SCHEDULE.case_validation_every == 0
    with pytest.raises(InputError, match="case_validation_every must be at least 0, got -1"):
        settings_from(ScheduleConfig(), {"case_validation_every": -1}, "here")
    with pytest.raises(InputError, match="case_validation_cases must be at least 1, got 0"):
        settings_from(ScheduleConfig(), {"case_validation_cases": 0}, "here")


def test_schedule_refuses_an_unknown_rotation():
    with pytest.raises(InputError, match="rotation must be one of 'nnunet', 'axial', got 'sideways'"):
        settings_from(ScheduleConfig(), {"rotation": "sideways"}, "here")


def test_block_that_is_no_object_is_refused():
    with pytest.raises(InputError, match="expected an object under 'multitask', got list"):
        config_from_plans({"plans_name": "p", "multitask": []})
    with pytest.raises(InputError, match="expected an object under 'multitask/schedule', got list"):
        schedule_from_plans({"plans_name": "p", "multitask": {"schedule": []}}, ScheduleConfig())


def test_differences_lists_what_was_changed():
    assert differences(settings_from(MultiTaskConfig(), {"dropout": 0.3}, "here")) == {"dropout": 0.3}
    assert differences(MultiTaskConfig()) == {}


def test_text_becomes_the_type_of_the_setting():
    assert parse_value(MultiTaskConfig(), "fusion_channels", "16") == 16
    assert parse_value(MultiTaskConfig(), "dropout", "0.25") == 0.25
    assert parse_value(MultiTaskConfig(), "pooling", "average") == "average"
    assert parse_value(ScheduleConfig(), "mirroring", "false") is False
    assert parse_value(MultiTaskConfig(), "fusion_channels", "many") == "many"  # refused later, with the setting's name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", 0.0, "must be above 0, got 0.0"),
        ("learning_rate", float("inf"), "must be a finite number, got inf"),
        ("seed", 2**31, "between 0 and 2147483647, got 2147483648"),
    ],
)
def test_schedule_refuses_what_cannot_train(name, value, message):
    with pytest.raises(InputError, match=f"{name} .*{message}"):
        settings_from(ScheduleConfig(), {name: value}, "here")


def test_schedule_refuses_a_negative_patience():
    with pytest.raises(InputError, match="early_stopping_patience must be at least 0, got -1"):
        settings_from(ScheduleConfig(), {"early_stopping_patience": -1}, "here")


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 1.0), ("adam", 10.0), ("adamw", 10.0)])
def test_the_rate_of_the_heads_follows_the_optimizer_unless_it_is_set(optimizer, factor):
    schedule = ScheduleConfig(optimizer=optimizer)
    assert head_rate_factor(MultiTaskConfig(), schedule) == factor
    assert head_rate_factor(MultiTaskConfig(head_rate_factor=0.5), schedule) == 0.5
