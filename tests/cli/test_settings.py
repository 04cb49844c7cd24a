"""Every setting of the dataclasses can be reached, and is explained, by configure."""

import argparse
import contextlib
import io
import json
from dataclasses import fields

import pytest

from nnunet_multitask.cli import configure
from nnunet_multitask.cli._settings import changes, described, given, shown
from nnunet_multitask.cli.main import main
from nnunet_multitask.config import MultiTaskConfig, ScheduleConfig
from nnunet_multitask.errors import InputError

SETTINGS = [(settings, field) for settings in (MultiTaskConfig, ScheduleConfig) for field in fields(settings)]


def parsed(*words):
    parser = argparse.ArgumentParser()
    configure.add_arguments(parser)
    return given(parser.parse_args(["1", "--name", "x", *words]))


@pytest.mark.parametrize(("settings", "field"), SETTINGS, ids=lambda value: getattr(value, "name", ""))
def test_every_setting_is_reached_by_set(settings, field):
    config, schedule = parsed("--set", f"{field.name}={shown(field.default)}")
    reached, other = (config, schedule) if settings is MultiTaskConfig else (schedule, config)
    assert reached == {field.name: field.default}
    assert type(reached[field.name]) is type(field.default)
    assert other == {}


@pytest.mark.parametrize("field", fields(ScheduleConfig), ids=lambda field: field.name)
def test_every_setting_of_the_schedule_has_an_option(field):
    assert parsed(f"--{field.name.replace('_', '-')}", shown(field.default)) == ({}, {field.name: field.default})


def test_names_are_of_one_dataclass_only():
    assert len({field.name for _, field in SETTINGS}) == len(SETTINGS)


def test_every_setting_is_explained_in_the_help():
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        main(["configure", "--help"])
    text = " ".join(out.getvalue().split())
    for settings, field in SETTINGS:
        sentence = described(settings)[field.name]
        assert len(sentence) > 10, field.name
        # words of an option may be broken at a dash, by which argparse wraps its help
        assert sentence.rstrip(".").replace("- ", "-") in text.replace("- ", "-"), field.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "droput=1"], r"\[unknown-setting\] --set droput=1: .* did you mean 'dropout'\?"),
        (["--set", "epoch=1"], r"\[unknown-setting\] --set epoch=1: .* did you mean 'epochs'\?"),
        (["--set", "xyz=1"], r"\[unknown-setting\] .* known: fusion_channels, .*epochs"),
        (["--set", "epochs"], r"\[bad-setting\] --set epochs: expected NAME=VALUE"),
        (["--epochs", "3", "--set", "epochs=4"], r"\[contradiction\] --set epochs=4: .* got also '3'"),
        (["--set", "dropout=0", "--set", "dropout=1"], r"\[contradiction\] --set dropout=1"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        parsed(*words)


def test_what_differs_is_said_with_its_default():
    assert changes(MultiTaskConfig, {"dropout": 0.3}) == {"dropout": "0.3 (default 0.1)"}
    assert changes(ScheduleConfig, {"mirroring": False, "epochs": 1000}) == {
        "mirroring": "off (default on)",
        "epochs": "1000 (the default; 10 in the trainers ending in Short)",
    }
    assert json.dumps(changes(ScheduleConfig, {})) == "{}"


@pytest.mark.parametrize(
    ("settings", "name", "switch", "choice"),
    [
        (MultiTaskConfig, "focal_gamma", "classification_loss", "focal"),
        (MultiTaskConfig, "gradnorm_alpha", "loss_balancing", "gradnorm"),
        (MultiTaskConfig, "top_tiles", "patch_aggregation", "topk"),
        (ScheduleConfig, "restart_epochs", "decay", "cosine_restarts"),
    ],
)
def test_a_setting_that_another_one_leaves_without_effect_says_so(settings, name, switch, choice):
    assert f"{switch}={choice}" in changes(settings, {name: 7})[name].partition("; counts only with ")[2]
    assert "counts only" not in changes(settings, {name: 7, switch: choice})[name]
