"""``nnunet-multitask evaluate`` from end to end on tiny masks, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import check_schema


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two cases: labelsTs/, prediction/ with classification.json, dataset.json, class_labels.json."""
    for index, case_id in enumerate(("a", "b")):
        mask = np.zeros((6, 6, 4), dtype=np.uint8)
        mask[1:3, 1:3, 1 : 3 + index] = 1
        for folder in ("labelsTs", "prediction"):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask, np.diag([1, 1, 5, 1])), tmp_path / folder / f"{case_id}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "bleeding": 1}}))
    targets = {"kind": {"type": "binary", "classes": ["none", "fresh"]}}
    cases = {case_id: {"labels": {"kind": label}} for case_id, label in (("a", "none"), ("b", "fresh"))}
    sidecar = {"version": 1, "targets": targets, "cases": cases}
    (tmp_path / "class_labels.json").write_text(json.dumps(sidecar))
    predicted = {
        case_id: {"targets": {"kind": {"probabilities": {"none": 1 - p, "fresh": p}, "decision": decision}}}
        for case_id, p, decision in (("a", 0.25, "none"), ("b", 0.75, "fresh"))
    }
    document = {"version": 1, "targets": targets, "cases": predicted}
    (tmp_path / "prediction" / "classification.json").write_text(json.dumps(document))
    return tmp_path


def evaluate(folders: Path, *options: str) -> int:
    return main(
        [
            "evaluate",
            *("--reference", str(folders / "labelsTs")),
            *("--prediction", str(folders / "prediction")),
            *("--output", str(folders / "out.json")),
            *("--num-workers", "1"),
            *options,
        ]
    )


def test_masks_alone(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folders) == 0
    document = json.loads((folders / "out.json").read_text())
    check_schema(document, "evaluation.json", "out.json")
    assert document["summary"]["bleeding"]["dsc"]["penalised"]["mean"] == 1.0
    out = capsys.readouterr().out
    assert (
        "region         DSC     NSD   HD95 mm  directed     HD mm     n  missed  false positive  both empty\n"
        "bleeding     1.000   1.000      0.00      0.00      0.00     2       0               0           0\n"
        "foreground   1.000   1.000      0.00      0.00      0.00     2       0               0           0\n"
    ) in out
    assert (
        "region      lesions   found  missed  invented  sensitivity  precision      F1  invented/scan\n"
        "bleeding          2       2       0         0        1.000      1.000   1.000           0.00\n"
    ) in out
    assert "NSD within 2 mm" in out
    assert f"written: {folders / 'out.json'}" in out


def test_masks_and_classes(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classification = str(folders / "prediction" / "classification.json")
    options = ("--labels", str(folders / "class_labels.json"), "--classification", classification)
    assert evaluate(folders, *options) == 0
    assert (
        "kind: AUC 1.000  balanced accuracy 1.000  F1 1.000  (positive class: fresh; n = 2" in capsys.readouterr().out
    )
    assert evaluate(folders, *options, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["output"] == str(folders / "out.json")
    assert answer["summary"]["foreground"]["status"]["ok"] == 2
    assert answer["classification"]["kind"]["auc"] == 1.0


def test_options_change_what_is_scored_and_stand_in_the_document(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("labelsTs", "prediction"):
        empty = nibabel.Nifti1Image(np.zeros((6, 6, 4), dtype=np.uint8), np.diag([1, 1, 5, 1]))
        nibabel.save(empty, folders / folder / "a.nii.gz")
    assert evaluate(folders) == 0
    document = json.loads((folders / "out.json").read_text())
    assert document["summary"]["foreground"]["dsc"]["penalised"]["n"] == 1
    options = "--both-empty one --nsd-tolerance-mm 0.5 --lesion-rule iou>=0.5".split()
    assert evaluate(folders, *options) == 0
    document = json.loads((folders / "out.json").read_text())
    check_schema(document, "evaluation.json", "out.json")
    assert document["settings"] == {
        "geometry_tolerance_mm": 0.001,
        "nsd_tolerance_mm": 0.5,
        "both_empty": "one",
        "lesion_rule": "iou>=0.5",
        "missing_predictions": "missed",
    }
    assert "within 0.5 mm" in document["definitions"]["segmentation"]["nsd"]
    assert document["summary"]["foreground"]["dsc"]["penalised"]["n"] == 2
    assert "found by the rule: iou>=0.5" in capsys.readouterr().out


def test_a_missing_prediction_can_stop_the_evaluation(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "prediction" / "b.nii.gz").unlink()
    assert evaluate(folders, "--missing-predictions", "stop") == 1
    missing = folders / "prediction" / "b.nii.gz"
    assert f"ERROR [missing-prediction] {missing}: expected a prediction of" in capsys.readouterr().err
    assert not (folders / "out.json").exists()


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("--num-workers", "0", "expected 1 or more, got 0"),
        ("--nsd-tolerance-mm", "-1", "expected 0 or more, got -1"),
        ("--nsd-tolerance-mm", "inf", "expected 0 or more, got inf"),
        ("--geometry-tolerance-mm", "-1", "expected 0 or more, got -1"),
        ("--geometry-tolerance-mm", "nan", "expected 0 or more, got nan"),
        ("--lesion-rule", "iou>=2", "expected any, dsc>=T or iou>=T with T above 0 and at most 1, got 'iou>=2'"),
        ("--both-empty", "zero", "invalid choice: 'zero'"),
    ],
)
def test_wrong_usage_exits_with_2(
    folders: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, fault: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate(folders, f"{option}={value}")
    assert caught.value.code == 2
    assert fault in capsys.readouterr().err


def test_classes_without_labels_are_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classification = folders / "prediction" / "classification.json"
    assert evaluate(folders, "--classification", str(classification)) == 1
    assert f"ERROR [missing-sidecar] {classification}: expected the class labels" in capsys.readouterr().err
    assert not (folders / "out.json").exists()


def test_a_missing_sidecar_and_a_missing_dataset_json_are_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folders, "--labels", str(folders / "nowhere.json")) == 1
    assert "ERROR [missing-sidecar]" in capsys.readouterr().err
    (folders / "dataset.json").rename(folders / "elsewhere.json")
    assert evaluate(folders) == 1
    err = capsys.readouterr().err
    assert "ERROR [missing-dataset-json]" in err
    assert "Traceback" not in err
    assert evaluate(folders, "--dataset-json", str(folders / "elsewhere.json")) == 0


def test_output_of_the_wrong_kind_is_refused_before_scoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    nothing = str(tmp_path / "nothing")
    argv = ["evaluate", "--reference", nothing, "--prediction", nothing, "--output", str(tmp_path)]
    assert main(argv) == 1
    assert f"ERROR [bad-output] {tmp_path}: expected a file to write, got a folder" in capsys.readouterr().err
    argv = ["compare", "--reference", nothing, "--baseline", "a", "--model", "b", "--output", str(tmp_path / "file")]
    assert main(argv) == 1
    assert "expected a folder to write, got a file" in capsys.readouterr().err


def test_mask_gate_and_calibration_are_printed(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"type": "binary", "classes": ["none", "fresh"], "temperature": 1.0, "thresholds": {"youden": 0.8}}
    calibration = {"version": 1, "fitted_on": {"cases": 20, "folds": []}, "targets": {"kind": entry}}
    (folders / "calibration.json").write_text(json.dumps(calibration))
    (folders / "splits_final.json").write_text(
        json.dumps([{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}])
    )
    options = ("--labels", str(folders / "class_labels.json"), "--splits", str(folders / "splits_final.json"))
    options += ("--calibration", str(folders / "calibration.json"), "--operating-point", "youden", "--gate", "kind")
    assert evaluate(folders, *options) == 0
    out = capsys.readouterr().out
    assert f"calibrated by {folders / 'calibration.json'}; decisions: youden" in out
    assert "kind: AUC 1.000  balanced accuracy 0.500  F1 0.000" in out  # 0.75 is below 0.8
    assert "kind by the mask, volume: AUC 1.000" in out
    assert "gate: masks of 2 of 2 scans cleared (kind: none)" in out
    assert "itself a lesion" not in out  # "none" has no region
    assert "  foreground: healthy scans with a mask 0 -> 0 of 0, missed 0 -> 2 of 2, false positive volume 0.00" in out
    document = json.loads((folders / "out.json").read_text())
    check_schema(document, "evaluation.json", "out.json")
    assert document["mask_classification"]["kind"]["rules"]["volume"]["per_class"]["fresh"]["thresholds"]


def test_splits_that_are_none_are_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "splits_final.json").write_text("{}")
    assert evaluate(folders, "--splits", str(folders / "splits_final.json")) == 1
    assert "ERROR [bad-splits]" in capsys.readouterr().err
