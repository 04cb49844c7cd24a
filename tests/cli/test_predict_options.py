"""predict understands what nnU-Net's own two commands understand."""

import argparse

import pytest
from nnunetv2.inference import predict_from_raw_data

from nnunet_multitask.cli import predict

COMMANDS = ("predict_entry_point", "predict_entry_point_modelfolder")
# the model may be named in two ways, so that neither is required; its folds are found, its trainer is ours
OTHER = {"-d": {"required"}, "-c": {"required"}, "-m": {"required"}, "-f": {"default"}, "-tr": {"default"}}


class Seen(Exception):
    pass


def options(parser):
    """Return what each option of a parser takes."""
    return {
        option: {
            "required": action.required,
            "default": action.default,
            "nargs": action.nargs,
            "flag": isinstance(action, argparse._StoreTrueAction),
            "type": action.type or str,
        }
        for action in parser._actions
        for option in action.option_strings
        if option not in ("-h", "--help")
    }


def options_of_nnunet(monkeypatch, command):
    parsers = []

    def stop(parser, *args):
        parsers.append(parser)
        raise Seen

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Seen):
        getattr(predict_from_raw_data, command)()
    return options(parsers[0])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("processes", [None, "5"])
def test_every_option_of_nnunet_is_there_and_means_the_same(monkeypatch, command, processes):
    if processes is not None and command == "predict_entry_point":  # the other command does not look
        monkeypatch.setenv("nnUNet_npp", processes)
        monkeypatch.setenv("nnUNet_nps", processes)
    theirs = options_of_nnunet(monkeypatch, command)
    assert {"-i", "-o", "-f", "-step_size", "--continue_prediction", "--not_on_device"} <= set(theirs)
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    ours = options(parser)
    for option, meaning in theirs.items():
        assert option in ours, f"{command} has {option}"
        for key, value in meaning.items():
            if key not in OTHER.get(option, ()):
                assert ours[option][key] == value, f"{option}: {key}"
