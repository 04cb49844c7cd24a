import argparse
import json

import pytest

from nnunet_multitask.cli.main import build_parser
from nnunet_multitask.errors import InputError
from nnunet_multitask.workflows import demo


def test_every_command_of_this_package_parses(tmp_path):
    """The demonstration shows commands as a user types them: they must be valid ones."""
    ours = [
        s for s in demo.demo_steps(tmp_path / "a folder", demo.DemoSettings(), "cpu") if "multitask" in s.command[0]
    ]
    assert [step.name for step in ours] == [
        "phantom", "convert", "verify", "split", "configure", "predict_multitask", "compare"
    ]  # fmt: skip
    for step in ours:
        assert isinstance(build_parser().parse_args(list(step.command[1:])), argparse.Namespace)
        assert all(" " not in word or "a folder" in word for word in step.command)


def test_both_models_are_trained_and_predicted_by_the_same_commands(tmp_path):
    steps = {step.name: step for step in demo.demo_steps(tmp_path, demo.DemoSettings(), "cpu")}
    trainers = list(demo.MODELS.values())
    for action in ("train", "predict"):
        ours, theirs = (
            [word for word in steps[f"{action}_{model}"].command[1:] if word not in ("predict", *trainers)]
            for model in demo.MODELS
        )
        assert [word.replace("multitask", "baseline") for word in ours] == theirs


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"\[not-empty\] .*another --output"):
        demo.run_demo(tmp_path, demo.DemoSettings(), "cpu", print)


def test_other_demonstration_is_refused(tmp_path):
    demo._claim(tmp_path, demo.DemoSettings(seed=1), "cpu")
    demo._claim(tmp_path, demo.DemoSettings(seed=1), "cpu")
    with pytest.raises(InputError, match=r"\[other-demo\] .*demo.json"):
        demo._claim(tmp_path, demo.DemoSettings(seed=2), "cpu")


def test_summary_and_table_from_a_comparison(tmp_path):
    def model(dsc, classification):
        statistics = {"penalised": {"n": 12, "mean": dsc}}
        distance = {"penalised": {"mean": 3.25}}
        summary = {"foreground": {"dsc": statistics, "hd95": distance, "hd": distance}}
        return {"segmentation": {"summary": summary}, "classification": classification}

    scores = {"subtype": {"auc": 0.9375, "accuracy": 0.875}}
    comparison = {"models": {"baseline": model(0.8, {}), "multitask": model(0.75, scores)}}
    summary = demo._summary(comparison, 61.23, tmp_path / "report.html")
    assert json.loads(json.dumps(summary)) == {
        "multitask": {"dsc": 0.75, "auc": 0.9375},
        "baseline": {"dsc": 0.8},
        "n_test": 12,
        "seconds": 61.2,
        "phantom_version": demo.PHANTOM_VERSION,
        "report": str(tmp_path / "report.html"),
    }
    header, baseline, multitask = demo._table(comparison)
    assert header.split() == ["model", "cases", "DSC", "HD95", "mm", "HD", "mm", "accuracy", "AUC"]
    assert baseline.split() == ["baseline", "12", "0.800", "3.2", "3.2", "-", "-"]
    assert multitask.split() == ["multitask", "12", "0.750", "3.2", "3.2", "0.875", "0.938"]
