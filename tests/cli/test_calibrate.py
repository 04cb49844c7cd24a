"""``nnunet-multitask calibrate`` from the folds of a model folder to calibration.json, in this process."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.evaluation.calibration import read_calibration

TARGETS = {"finding": {"type": "binary", "classes": ["none", "bleeding"]}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with two validated folds of 40 cases, and class_labels.json beside it."""
    rng = random.Random(0)
    labels = {}
    for fold in range(2):
        cases = {}
        for index in range(40):
            case_id, logit = f"f{fold}_{index}", rng.gauss(0, 1.5)
            p = 1 / (1 + math.exp(-2 * logit))
            labels[case_id] = "bleeding" if rng.random() < 1 / (1 + math.exp(-logit)) else "none"
            prediction = {"probabilities": {"none": 1 - p, "bleeding": p}, "decision": "none"}
            cases[case_id] = {"targets": {"finding": prediction}}
        folder = tmp_path / "T__P__3d_fullres" / f"fold_{fold}" / "validation"
        folder.mkdir(parents=True)
        document = {"version": 1, "model": {"trainer": "T"}, "targets": TARGETS, "cases": cases}
        (folder / "classification.json").write_text(json.dumps(document))
    sidecar = {"version": 1, "targets": TARGETS, "cases": {c: {"labels": {"finding": x}} for c, x in labels.items()}}
    (tmp_path / "class_labels.json").write_text(json.dumps(sidecar))
    return tmp_path / "T__P__3d_fullres"


def calibrate(model: Path, *options: str) -> int:
    return main(["calibrate", "-m", str(model), "--labels", str(model.parent / "class_labels.json"), *options])


def test_the_folds_of_a_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = model.parent / "reliability.png"
    assert calibrate(model, "--rules", "youden", "sensitivity_at_least_0.8", "--plot", str(plot)) == 0
    out = capsys.readouterr().out
    assert "finding: 80 cases, 0 without a label; after: leave fold out" in out
    assert "bleeding: temperature " in out
    assert "sensitivity_at_least_0.8: bleeding from 0." in out
    assert f"written: {model / 'calibration.json'}, from 80 cases of the folds 0, 1" in out
    found = read_calibration(model / "calibration.json")
    assert set(found.targets["finding"].thresholds) == {"youden", "sensitivity_at_least_0.8"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_console_names_the_bins_and_why_a_rule_has_no_scores(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(model) == 0
    out = capsys.readouterr().out
    assert "  ECE (10 bins of equal mass) 0." in out
    (line,) = [line for line in out.splitlines() if "mean_f1_over_folds" in line]
    assert line.endswith("F1 n/a  (no threshold without one of the folds)")


def test_an_earlier_calibration_is_replaced_only_on_request(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "calibration.json").write_text("{}")
    assert calibrate(model) == 1
    assert "ERROR [already-exists]" in capsys.readouterr().err
    assert (model / "calibration.json").read_text() == "{}"
    assert calibrate(model, "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((model / "calibration.json").read_text())


def test_the_dataset_names_model_and_labels(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results, raw = model.parent / "results" / "Dataset007_X", model.parent / "raw" / "Dataset007_X"
    results.mkdir(parents=True)
    raw.mkdir(parents=True)
    model.rename(results / "T__P__3d_fullres")
    (model.parent / "class_labels.json").rename(raw / "class_labels.json")
    monkeypatch.setenv("nnUNet_results", str(results.parent))
    monkeypatch.setenv("nnUNet_raw", str(raw.parent))
    assert main(["calibrate", "-d", "7", "-tr", "T", "-p", "P", "-c", "3d_fullres"]) == 0
    assert (results / "T__P__3d_fullres" / "calibration.json").is_file()
    assert "80 cases" in capsys.readouterr().out


def test_a_table_by_name_and_an_output(model: Path) -> None:
    table = model / "fold_0" / "validation" / "classification.json"
    output = model.parent / "elsewhere.json"
    arguments = ["--classification", str(table), "--labels", str(model.parent / "class_labels.json")]
    assert main(["calibrate", *arguments, "--output", str(output)]) == 0
    assert read_calibration(output).targets["finding"].thresholds["youden"]


def test_what_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(code: str, *arguments: str) -> None:
        assert main(["calibrate", *arguments]) == 1
        assert f"ERROR [{code}]" in capsys.readouterr().err
        assert not (model / "calibration.json").exists()

    refused("missing-model")
    refused("missing-folder", "-m", str(model / "nowhere"))
    refused("no-out-of-fold-table", "-m", str(model.parent))
    refused("missing-references", "-m", str(model))
    labels = ("--labels", str(model.parent / "class_labels.json"))
    refused("too-few-cases", "-m", str(model), *labels, "--rules", "sensitivity_at_least_0.99")
    refused("bad-rule", "-m", str(model), *labels, "--rules", "yuoden")
    plans = {"multitask": {"targets": {"other": TARGETS["finding"]}}}
    (model / "plans.json").write_text(json.dumps(plans))
    refused("targets-differ", "-m", str(model), *labels)
