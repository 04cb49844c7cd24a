"""``nnunet-multitask split``: what it writes, and what it does not overwrite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import read_json, write_json


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the folds of a dataset of six cases, two of one patient, will be written."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "nnUNet_raw" / "Dataset003_Six"
    (folder / "imagesTr").mkdir(parents=True)
    cases = {}
    for index, case in enumerate("abcdef"):
        (folder / "imagesTr" / f"{case}_0000.nii.gz").touch()
        cases[case] = {"labels": {"t": "xy"[index % 2]}, "group": "p" if case in "ac" else case}
    write_json(folder / "dataset.json", {"file_ending": ".nii.gz"})
    targets = {"t": {"type": "multiclass", "classes": ["x", "y"]}}
    write_json(folder / "class_labels.json", {"version": 1, "targets": targets, "cases": cases})
    return tmp_path / "nnUNet_preprocessed" / "Dataset003_Six" / "splits_final.json"


def test_writes_folds_with_whole_patients(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "3", "--folds", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(splits)
    assert sorted(fold["val"]["cases"] for fold in printed["folds"]) == [1, 2, 3]  # every fold has one case of class y
    folds = read_json(splits)
    assert sorted(case for fold in folds for case in fold["val"]) == list("abcdef")
    assert any({"a", "c"} <= set(fold["val"]) for fold in folds)


def test_other_folds_are_kept_unless_told(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "3", "--folds", "3"]) == 0
    assert main(["split", "3", "--folds", "3"]) == 0  # the same again
    before = splits.read_bytes()
    capsys.readouterr()
    assert main(["split", "3", "--folds", "2"]) == 1
    assert "ERROR [already-exists]" in capsys.readouterr().err
    assert splits.read_bytes() == before
    assert main(["split", "3", "--folds", "2", "--overwrite"]) == 0
    assert len(read_json(splits)) == 2


def test_impossible_folds(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "3", "--folds", "6"]) == 1
    assert "got 6 folds of 5 groups -> use --folds from 2 to 5" in capsys.readouterr().err
    assert main(["split", "3", "--folds", "2", "--seed", "-1"]) == 1
    assert "ERROR [bad-seed] --seed: expected 0 or more, got -1" in capsys.readouterr().err
    assert not splits.exists()


def test_missing_sidecar(splits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nnUNet_raw" / "Dataset003_Six" / "class_labels.json").unlink()
    assert main(["split", "3"]) == 1
    assert "ERROR [missing-sidecar]" in capsys.readouterr().err


def change(splits: Path, edit) -> None:
    path = splits.parents[2] / "nnUNet_raw" / "Dataset003_Six" / "class_labels.json"
    document = read_json(path)
    edit(document)
    write_json(path, document)


def give_official_splits(document) -> None:
    for case, split in zip("abcdef", ("train", "train", "val", "val", "train", "test"), strict=True):
        document["cases"][case]["split"] = split


def test_official_fold(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "3", "--from-sidecar"]) == 1
    assert "ERROR [unknown-split]" in capsys.readouterr().err
    change(splits, give_official_splits)
    assert main(["split", "3", "--from-sidecar"]) == 1  # the patient p is on both sides
    assert "ERROR [leaking-group]" in capsys.readouterr().err
    assert not splits.exists()
    assert main(["split", "3", "--from-sidecar", "--drop-leaking"]) == 0
    assert read_json(splits) == [{"train": ["b", "e"], "val": ["c", "d"]}]
    assert main(["split", "3", "--folds", "2", "--from-sidecar", "--drop-leaking", "--overwrite"]) == 0
    assert len(read_json(splits)) == 3
    assert read_json(splits)[2] == {"train": ["b", "e"], "val": ["c", "d"]}


def test_drop_leaking_needs_the_official_fold(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "3", "--drop-leaking"]) == 1
    assert "ERROR [contradiction] --drop-leaking" in capsys.readouterr().err


def test_counts_and_warnings(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(splits, lambda document: document["cases"]["b"]["labels"].update(t="x"))
    assert main(["split", "3", "--folds", "3", "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert not splits.exists()
    lines = captured.out.splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("fold 0 train ")
    assert lines[-1] == f"not written: {splits}"
    assert "WARN [class-without-validation] targets/t: expected validation cases with and without" in captured.err
    assert "y in fold " in captured.err
    assert "(2 of 5 patients have it)" in captured.err
    assert captured.err.count("WARN") == 1


def test_folds_without_training_cases_of_a_class_are_refused(splits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(splits, lambda document: [document["cases"][case]["labels"].update(t="x") for case in "bd"])
    assert main(["split", "3", "--folds", "2"]) == 1
    error = capsys.readouterr().err
    assert "ERROR [class-without-training] targets/t: expected training cases with and without every class" in error
    assert "label more patients" in error
    assert not splits.exists()
