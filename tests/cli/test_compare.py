"""``nnunet-multitask compare`` from end to end on tiny images, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli.compare import named_folders
from nnunet_multitask.cli.main import main
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.calibration import fingerprint


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two cases: labelsTs/, imagesTs/, stock/ (a voxel off), better/ (perfect) and dataset.json."""
    affine = np.diag([2, 2, 5, 1])
    for index, case_id in enumerate(("a", "b")):
        mask = np.zeros((16, 16, 4), dtype=np.uint8)
        mask[4:8, 4:8, 1 : 3 + index] = 1
        arrays = {"labelsTs": mask, "better": mask, "stock": np.roll(mask, 1, axis=0), "imagesTs": mask * 60}
        for folder, array in arrays.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            name = f"{case_id}_0000" if folder == "imagesTs" else case_id
            nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / folder / f"{name}.nii.gz")
    dataset = {"labels": {"background": 0, "bleeding": 1}, "channel_names": {"0": "MR"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    return tmp_path


def compare(folders: Path, *options: str, baseline: str = "", model: str = "better=") -> int:
    return main(
        [
            "compare",
            *("--reference", str(folders / "labelsTs")),
            *("--baseline", f"{baseline}{folders / 'stock'}"),
            *("--model", f"{model}{folders / 'better'}"),
            *("--output", str(folders / "out")),
            *("--num-workers", "1"),
            *options,
        ]
    )


def test_report_tables_and_text(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/nnunet-multitask", "compare", "--images", "images & masks"])
    assert compare(folders, "--images", str(folders / "imagesTs")) == 0
    out = capsys.readouterr().out
    assert "stock    0.750      2.00        baseline" in out
    assert "better   1.000      0.00          0.2500" in out
    assert f"report: {folders / 'out' / 'report.html'}" in out
    html = (folders / "out" / "report.html").read_text()
    assert "Grey values from the 1st to the 99th percentile" in html
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["command"] == "nnunet-multitask compare --images 'images & masks'"
    assert (folders / "out" / "cases.csv").read_text().count("\n") == 1 + 2 * 2 * 2


def test_json(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["baseline"] == "stock"
    assert answer["summary"]["better"]["segmentation"]["foreground"]["dsc"]["penalised"]["mean"] == 1.0
    assert answer["comparisons"]["better"]["foreground"]["dsc"]["wins"] == 2


def test_different_case_sets_leave_no_output(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "better" / "b.nii.gz").unlink()
    assert compare(folders) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"ERROR [different-case-sets] {folders / 'better'}: ")
    assert "1 are absent: b" in err
    assert not (folders / "out").exists()


def test_the_intersection_and_the_verdict_are_said(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "better" / "b.nii.gz").unlink()
    options = ["--intersection", "--primary-test", "permutation", "--non-inferiority-margin", "0.05"]
    assert compare(folders, *options) == 0
    out = capsys.readouterr().out
    assert "p (permutation)" in out
    assert "over the 1 cases that every model predicted: 1 others are left out" in out
    assert "better: DSC no verdict at a margin of 0.05 (fewer_than_10_units), lower bound of the difference n/a" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["case_set"]["left_out"] == {"better": ["b"]}


def test_an_unknown_metric_is_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--family", "dice") == 1
    assert "ERROR [unknown-metric] family: expected different metrics among dsc, " in capsys.readouterr().err


def test_published_tables_stand_below(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--published", "xiao2025") == 0
    out = capsys.readouterr().out
    assert "yours: better          1.000" in out
    assert "! auc_of_hard_labels: printed as AUC, but of hard labels: it is balanced accuracy" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["published"]["xiao2025"]["tables"][1]["yours"]["stock"]["dsc"] == 0.75
    assert compare(folders, "--published", "nobody") == 1
    assert "ERROR [unknown-paper]" in capsys.readouterr().err


def test_triage_needs_its_rates(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, "--triage", "blood", "--minutes-per-scan", "5") == 1
    assert "ERROR [missing-option]" in capsys.readouterr().err
    assert compare(folders, "--minutes-per-scan", "5") == 1
    assert "expected --triage, --arrivals-per-hour and --minutes-per-scan together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("--geometry-tolerance-mm=-1", "expected 0 or more, got -1"),
        ("--num-workers=0", "expected 1 or more, got 0"),
        ("--arrivals-per-hour=0", "expected a number above 0, got 0"),
        ("--minutes-per-scan=-5", "expected a number above 0, got -5"),
    ],
)
def test_numbers_that_make_no_sense_exit_with_2(
    folders: Path, capsys: pytest.CaptureFixture[str], option: str, fault: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        compare(folders, option)
    assert caught.value.code == 2
    assert fault in capsys.readouterr().err


def test_a_margin_of_nothing_is_refused_before_anything_is_read(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "dataset.json").write_text("no JSON")
    assert compare(folders, "--non-inferiority-margin", "0") == 1
    assert "ERROR [bad-margin]" in capsys.readouterr().err


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


def test_models_of_another_data_set(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("stock", "better"):
        (folders / name / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "blood": 1}}))
    (folders / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "bleeding": 1, "oedema": 2}}))
    assert compare(folders, "--map-classes", "blood=bleeding") == 0
    out = capsys.readouterr().out
    assert "better   1.000" in out
    assert "no model knows the labels oedema: where the reference has them, they count as not found" in out
    document = json.loads((folders / "out" / "comparison.json").read_text())
    assert document["class_mapping"]["labels"] == {"blood": "bleeding"}
    assert document["models"]["better"]["folder"] == str(folders / "out" / "mapped_classes" / "better")


@pytest.fixture
def trained(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same two cases as a dataset whose folds 0 and 1 two trainers have predicted."""
    raw, results = (folders / name / "Dataset007_X" for name in ("nnUNet_raw", "nnUNet_results"))
    raw.mkdir(parents=True)
    (folders / "labelsTs").rename(raw / "labelsTr")
    (folders / "dataset.json").rename(raw / "dataset.json")
    for trainer in ("stock", "better"):
        for fold, case_id in enumerate(("a", "b")):
            place = results / f"{trainer}__p__2d" / f"fold_{fold}" / "validation"
            place.mkdir(parents=True)
            (folders / trainer / f"{case_id}.nii.gz").rename(place / f"{case_id}.nii.gz")
    for name in ("nnUNet_raw", "nnUNet_results"):
        monkeypatch.setenv(name, str(folders / name))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return folders


def compare_trained(trained: Path, *options: str) -> int:
    models = ("--trained", "stock__p__2d", "--trained", "ours=better__p__2d")
    return main(["compare", *models, "--output", str(trained / "out"), "--num-workers", "1", *options])


def test_trained_models_are_compared_out_of_fold(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_trained(trained, "--dataset", "7", "--folds", "0", "1") == 0
    assert "ours           1.000" in capsys.readouterr().out
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert document["baseline"] == "stock__p__2d"
    assert list(document["geometry"]) == ["a", "b"]
    assert document["models"]["ours"]["model"]["trainer"] == "better"
    assert sorted(path.name for path in (trained / "out" / "out_of_fold" / "ours").iterdir()) == [
        "a.nii.gz",
        "b.nii.gz",
    ]


def test_trained_models_over_one_fold(trained: Path) -> None:
    assert compare_trained(trained, "--dataset", "7", "--folds", "1") == 0
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert list(document["geometry"]) == ["b"]


def test_the_splits_say_which_folds_and_cases_there_are(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained / "nnUNet_preprocessed" / "Dataset007_X" / "splits_final.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]))
    monkeypatch.setenv("nnUNet_preprocessed", str(trained / "nnUNet_preprocessed"))
    assert compare_trained(trained, "--dataset", "7") == 0
    document = json.loads((trained / "out" / "comparison.json").read_text())
    assert document["models"]["ours"]["model"]["folds"] == [0, 1]
    path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]))
    capsys.readouterr()
    assert compare_trained(trained, "--dataset", "7") == 1
    assert "ERROR [not-out-of-fold]" in capsys.readouterr().err


def test_trained_models_need_a_dataset_and_their_folds(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_trained(trained) == 1
    assert "expected --trained and --dataset together, got only --trained" in capsys.readouterr().err
    assert compare_trained(trained, "--dataset", "7") == 1
    assert "found none of 2, 3, 4 -> train these folds, or compare over those" in capsys.readouterr().err
    assert compare_trained(trained, "--dataset", "7", "--folds", "1", "--trained", "../x=stock__p__2d") == 1
    assert "ERROR [bad-model-name] ../x=stock__p__2d: expected a name without /" in capsys.readouterr().err
    assert not (trained / "out").exists()


def test_two_models_of_one_name_are_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(folders, baseline="x=", model="x=") == 1
    assert "ERROR [duplicate-model]" in capsys.readouterr().err


def test_names_come_from_the_argument_or_the_folder() -> None:
    assert named_folders("runs/base", ["ours=runs/a", "runs/b/"]) == (
        "base",
        {"base": Path("runs/base"), "ours": Path("runs/a"), "b": Path("runs/b")},
    )
    with pytest.raises(InputError, match=r"\[duplicate-model\] b/x: expected another name than x, .* --model NAME=b/x"):
        named_folders("a/x", ["b/x"])
