"""``nnunet-multitask compare`` of models that classify: triage, calibration, gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared_folders import compare, write_folders

from nnunet_multitask.evaluation.calibration import fingerprint


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path)


@pytest.fixture
def classified(folders: Path) -> Path:
    """The same two cases with the target "blood", which only one model predicts: 0.2 for a without, 0.9 for b with."""
    target = {"type": "binary", "classes": ["no", "yes"]}
    cases = {
        "a": {"targets": {"blood": {"probabilities": {"no": 0.8, "yes": 0.2}, "decision": "no"}}},
        "b": {"targets": {"blood": {"probabilities": {"no": 0.1, "yes": 0.9}, "decision": "yes"}}},
    }
    predicted = {"version": 1, "targets": {"blood": target}, "cases": cases}
    (folders / "better" / "classification.json").write_text(json.dumps(predicted))
    labels = {"a": {"labels": {"blood": "no"}}, "b": {"labels": {"blood": "yes"}}}
    sidecar = {"version": 1, "targets": {"blood": target}, "cases": labels}
    (folders / "class_labels.json").write_text(json.dumps(sidecar))
    entry = {**target, "temperature": 1.0, "thresholds": {"youden": 0.95}}
    fitted_on = {"cases": 20, "folds": [], "case_fingerprints": [fingerprint("a")]}
    calibration = {"version": 1, "fitted_on": fitted_on, "targets": {"blood": entry}}
    (folders / "calibration.json").write_text(json.dumps(calibration))
    return folders


def compare_classes(folders: Path, *options: str) -> int:
    return compare(folders, "--labels", str(folders / "class_labels.json"), *options)


def test_triage_is_simulated(classified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = ["--triage", "blood", "--arrivals-per-hour", "6", "--minutes-per-scan", "5"]
    assert compare_classes(classified, *rates) == 0
    out = capsys.readouterr().out
    assert "triage by blood: yes (simulated; 6 scans per hour, 5 min each, reader busy 50 % of the time):" in out
    assert "  better: median wait of 1 positive scans" in out


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("kind", "[unknown-target] --triage kind: expected a target that a model predicts (blood), got kind"),
        ("blood:old", "[unknown-class] --triage blood:old: expected one of the classes no, yes, got old"),
        ("-", "[missing-classification] --triage blood: expected a model that classifies"),
    ],
)
def test_triage_is_checked_before_scoring(
    classified: Path, capsys: pytest.CaptureFixture[str], question: str, error: str
) -> None:
    if question == "-":
        (classified / "better" / "classification.json").unlink()
    rates = ["--arrivals-per-hour", "6", "--minutes-per-scan", "5"]
    assert compare_classes(classified, "--triage", question.replace("-", "blood"), *rates) == 1
    err = capsys.readouterr().err
    assert f"ERROR {error}" in err
    assert "scoring" not in err


def test_calibration_and_gate_of_the_model_that_classifies(
    classified: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = classified / "calibration.json"
    options = ("--calibration", str(file), "--operating-point", "youden", "--gate", "blood")
    assert compare_classes(classified, *options) == 0
    out = capsys.readouterr().out
    assert f"better: calibrated by {file}; decisions: youden; fitted on 1 of these cases, so it looks better" in out
    assert "better: gate: masks of 2 of 2 scans cleared (blood: no)" in out  # 0.9 is below 0.95
    assert "  foreground: healthy scans with a mask 0 -> 0 of 0, missed 0 -> 2 of 2" in out
    document = json.loads((classified / "out" / "comparison.json").read_text())
    stock, better = document["models"]["stock"], document["models"]["better"]
    assert stock["calibration"] is stock["gate"] is None
    before = better["calibration"].pop("before")["blood"]
    assert better["calibration"] == {"file": str(file), "operating_point": "youden", "in_sample_cases": 1}
    assert before["brier"] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert better["gate"]["regions"]["foreground"]["missed"]["after"]["n"] == 2
    assert better["classification"]["blood"]["cases"]["b"]["decision"] == "no"
    assert "healthy" in document["definitions"]["gate"]
    assert compare_classes(classified, "--calibration", f"better={file}", "--gate", "blood") == 0
    assert "better: gate: masks of 1 of 2 scans cleared (blood: no)" in capsys.readouterr().out


def test_volumes_are_decided_by_the_other_folds(classified: Path) -> None:
    reasons = []
    splits = [{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]
    (classified / "splits_final.json").write_text(json.dumps(splits))
    for options in ((), ("--splits", str(classified / "splits_final.json"))):
        assert compare_classes(classified, *options) == 0
        document = json.loads((classified / "out" / "comparison.json").read_text())
        rule = document["models"]["stock"]["mask_classification"]["blood"]["rules"]["volume"]
        reasons.append(rule["per_class"]["yes"].get("reasons", {}).get("accuracy"))
    assert reasons == ["no_folds", None]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--calibration stock=@", "[unknown-model] --calibration stock=@: expected NAME=FILE of a model"),
        ("--calibration @ --calibration better=@", "[duplicate-calibration] --calibration better=@"),
        ("--calibration nowhere.json", "[missing-file] nowhere.json"),
        ("--calibration @ --operating-point best", "[unknown-rule] @: target blood: expected one of the rules"),
        ("--operating-point youden", "[missing-calibration] nnunet-multitask compare: expected --calibration"),
        ("--gate bood", "[bad-gate] "),
        ("--splits @", "[bad-splits] @"),
    ],
)
def test_options_of_classes_are_refused_before_scoring(
    classified: Path, capsys: pytest.CaptureFixture[str], options: str, error: str
) -> None:
    file = str(classified / "calibration.json")
    assert compare_classes(classified, *options.replace("@", file).split()) == 1
    err = capsys.readouterr().err
    assert f"ERROR {error.replace('@', file)}" in err
    assert "scoring" not in err
    assert not (classified / "out").exists()


def test_a_gate_needs_a_model_that_classifies(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--gate", "blood") == 1
    assert "ERROR [missing-classification] nnunet-multitask compare: expected" in capsys.readouterr().err
