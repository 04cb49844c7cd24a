"""``nnunet-multitask fit-aggregation`` on untrained models of the micro dataset: only the way matters here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from untrained_models import make_untrained

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import check_schema

TRAINER = "nnUNetTrainerMultiTaskShort"


@pytest.fixture
def results(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test
    monkeypatch.setattr("nnunet_multitask.inference.attention_fit.MAX_STEPS", 10)
    return tmp_path


@pytest.fixture
def few(monkeypatch):
    """Six cases are enough."""
    monkeypatch.setattr("nnunet_multitask.evaluation.calibration_fit.MIN_CASES", 1)
    monkeypatch.setattr("nnunet_multitask.evaluation.probability_metrics.CLASS_BINS", 2)


def fit(model: Path, *options: str) -> int:
    return main(["fit-aggregation", "-m", str(model), "-device", "cpu", "-step_size", "1", *options])


def test_fit_calibrate_and_predict(results, few, micro_env, capsys, tmp_path):
    model = make_untrained(TRAINER)
    capsys.readouterr()
    assert fit(model) == 0
    out = capsys.readouterr().out
    assert "subtype (multiclass): 6 cases, gated attention out of sample: leave fold out" in out
    rows = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    names = ["mean", "gaussian", "lesion", "max", "noisy_or", "topk", "gated_attention"]
    assert rows == ["aggregation", *names, "recommended:"]
    assert "the model's own" in out
    document = json.loads((model / "aggregation.json").read_text())
    check_schema(document, "aggregation.json", model)
    assert set(document["model"]["checkpoint_sha256"]) == {"0", "1"}
    assert document["fitted_on"]["cases"] == 6
    table = model / "aggregation_out_of_fold.json"
    told = json.loads(table.read_text())
    check_schema(told, "classification.json", table)
    assert told["settings"]["aggregation"] == {"subtype": "gated_attention"}
    assert {case["fold"] for case in told["cases"].values()} == {0, 1}
    options = ["-m", str(model), "--labels", str(micro_env.raw / "class_labels.json"), "--rules", "youden"]
    assert main(["calibrate", "--classification", str(table), *options]) == 0
    output = tmp_path / "out"
    predict = ["predict", "-m", str(model), "-i", str(micro_env.raw / "imagesTs"), "-o", str(output), "-device", "cpu"]
    quick = ["-npp", "0", "-nps", "0", "-step_size", "1"]
    assert main([*predict, *quick, "--aggregation", "gated_attention"]) == 0
    found = json.loads((output / "classification.json").read_text())
    assert found["settings"]["aggregation"] == {"subtype": "gated_attention"}
    assert all(case["targets"]["subtype"]["calibrated"] for case in found["cases"].values())
    capsys.readouterr()
    assert main([*predict, *quick]) == 1  # the calibration is that of the attention
    assert "[other-aggregation]" in capsys.readouterr().err
    _train_anew(model / "fold_1" / "checkpoint_final.pth")
    assert main([*predict, *quick, "--aggregation", "gated_attention"]) == 1
    assert "[stale-aggregation]" in capsys.readouterr().err


def test_another_table_a_single_fold_and_json(results, few, capsys):
    model = make_untrained(TRAINER, folds=[0])
    capsys.readouterr()
    assert fit(model, "--json", "--aggregation", "max", "--disable_tta") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["folds"] == [0]
    assert set(answer["targets"]["subtype"]["aggregations"]) >= {"lesion", "gated_attention"}
    told = json.loads((model / "aggregation_out_of_fold.json").read_text())
    assert told["settings"] == {"aggregation": {"subtype": "max"}, "aggregation_sha256": None}
    document = json.loads((model / "aggregation.json").read_text())
    assert document["targets"]["subtype"]["evaluation"] == "cross_fitted_5_by_patient"
    assert document["settings"]["mirroring"] is False
    assert fit(model) == 1
    assert "[already-exists]" in capsys.readouterr().err


def test_too_few_cases_are_refused_before_any_network_runs(results, capsys):
    model = make_untrained(TRAINER, folds=[0])
    capsys.readouterr()
    for options in ((), ("--leave-out-rare",)):  # nothing would be left
        assert fit(model, *options) == 1
        err = capsys.readouterr().err
        assert "ERROR [too-few-cases] target subtype: expected at least 10 validation cases with" in err
    assert not (model / "aggregation.json").exists()


def test_one_class_only_is_refused(results, few, sidecar, edit, capsys):
    model = make_untrained(TRAINER, folds=[0])

    def all_alike(document):
        first = document["targets"]["subtype"]["classes"][0]
        for case in document["cases"].values():
            case["labels"]["subtype"] = first

    edit(sidecar, all_alike)
    capsys.readouterr()
    assert fit(model) == 1
    assert "and 1 without it, got 0 and 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-step_size", "2"], "bad-step-size"),
        (["-f", "1"], "missing-checkpoint"),
        (["--targets", "stage"], "unknown-target"),
        (["--aggregation", "gatted_attention"], "unknown-aggregation"),
    ],
)
def test_refusals(results, few, capsys, options, code):
    model = make_untrained(TRAINER, folds=[0])
    capsys.readouterr()
    assert fit(model, *options) == 1
    assert f"[{code}]" in capsys.readouterr().err


def test_every_fold_is_looked_at_before_the_first_case(results, few, capsys, monkeypatch):
    model = make_untrained(TRAINER)
    checkpoint = model / "fold_1" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    monkeypatch.setattr("nnunet_multitask.workflows.seen_cases._see", lambda *arguments: pytest.fail("a case was seen"))
    capsys.readouterr()
    assert fit(model) == 1
    assert "[unreadable-checkpoint]" in capsys.readouterr().err
    assert not (model / "aggregation.json").exists()


def test_no_model(results, capsys):
    assert fit(results / "nowhere") == 1
    assert "[missing-model]" in capsys.readouterr().err


def _train_anew(path: Path) -> None:
    checkpoint = torch.load(path, weights_only=False)
    next(iter(checkpoint["network_weights"].values())).add_(1)
    torch.save(checkpoint, path)
