"""What ``evaluate`` and ``compare`` may replace, and what they refuse before scoring."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli._outputs import (
    COMPARISON_KEYS,
    check_comparison_output,
    check_evaluation_output,
    check_output,
    remove_stale_models,
)
from nnunet_multitask.cli.main import main
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.dataset_json import DATASET_JSON


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """One case in labels/, predicted by baseline/ and model/, with dataset.json and class_labels.json."""
    mask = np.zeros((8, 8, 4), dtype=np.uint8)
    mask[2:4, 2:4, 1:3] = 1
    for name in ("labels", "baseline", "model"):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / name / "c1.nii.gz")
    (tmp_path / DATASET_JSON).write_text(json.dumps({"labels": {"background": 0, "bleeding": 1}}))
    (tmp_path / "class_labels.json").write_text(json.dumps({"version": 1, "targets": {}, "cases": {}}))
    return tmp_path


def test_evaluate_does_not_replace_its_input(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (cohort / DATASET_JSON).read_bytes()
    folders = ["--reference", str(cohort / "labels"), "--prediction", str(cohort / "model"), "--num-workers", "1"]
    for name in (DATASET_JSON, "class_labels.json", "labels/c1.nii.gz"):
        assert main(["evaluate", *folders, "--output", str(cohort / name)]) == 1
        assert f"ERROR [already-exists] {cohort / name}: expected no file, or an eval" in capsys.readouterr().err
    assert (cohort / DATASET_JSON).read_bytes() == before
    for _ in range(2):  # an earlier evaluation is replaced
        assert main(["evaluate", *folders, "--output", str(cohort / "evaluation.json")]) == 0
    check_evaluation_output(cohort / "evaluation.json")


def test_files_that_no_comparison_wrote_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert not check_comparison_output(tmp_path)
    (tmp_path / "cases.csv").touch()
    with pytest.raises(InputError, match=r"\[already-exists\] .*found cases.csv -> name another --output"):
        check_comparison_output(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(dict.fromkeys(COMPARISON_KEYS)))
    assert check_comparison_output(tmp_path)


def test_models_of_an_earlier_comparison_are_removed(cohort: Path) -> None:
    out = cohort / "out"
    argv = ["compare", "--reference", str(cohort / "labels"), "--num-workers", "1", "--output", str(out)]
    argv += ["--baseline", str(cohort / "baseline"), "--model", str(cohort / "model")]
    assert main(argv) == 0
    for name in ("out_of_fold/a", "mapped_classes/b", "mine"):
        (out / name).mkdir(parents=True)
    assert main(argv) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["mine"]


def test_predictions_in_use_stay(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "out_of_fold" / name).mkdir(parents=True)
    remove_stale_models(tmp_path, [tmp_path / "out_of_fold" / "b"])
    assert [path.name for path in (tmp_path / "out_of_fold").iterdir()] == ["b"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for is_folder in (True, False):
        with pytest.raises(InputError, match=r"\[cannot-write\] .*file/x/y: expected to write it"):
            check_output(tmp_path / "file" / "x" / "y", is_folder=is_folder)
        check_output(tmp_path / "new" / "x", is_folder=is_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_workers_and_output_leave_no_trace_in_the_document(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = []
    inputs = ["--reference", "labels", "--baseline", "baseline", "--model", "model"]
    monkeypatch.chdir(cohort)
    for workers, output in (["--num-workers", "1"], ["--output", "one"]), (["--num-w=3"], ["--out=three"]):
        argv = ["compare", *workers, *inputs, *output]
        monkeypatch.setattr("sys.argv", ["nnunet-multitask", *argv])
        assert main(argv) == 0
        documents.append((cohort / output[-1].removeprefix("--out=") / "comparison.json").read_bytes())
    assert documents[0] == documents[1]
    assert json.loads(documents[0])["command"] == "nnunet-multitask compare " + " ".join(inputs)


def test_a_missing_folder_and_a_mapping_that_is_none_are_named(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(cohort / "out")]
    assert main(["evaluate", "--reference", "nope", "--prediction", str(cohort / "model"), *out]) == 1
    assert "ERROR [missing-folder] nope: expected a folder of masks, found none" in capsys.readouterr().err
    for name in ("baseline", "model"):
        (cohort / name / DATASET_JSON).write_bytes((cohort / DATASET_JSON).read_bytes())
    models = ["--baseline", str(cohort / "baseline"), "--model", str(cohort / "model")]
    assert main(["compare", "--reference", str(cohort / "labels"), *models, *out, "--map-classes", "garbage"]) == 1
    assert "ERROR [bad-mapping] --map-classes: expected A=B,C=D (class of the" in capsys.readouterr().err
