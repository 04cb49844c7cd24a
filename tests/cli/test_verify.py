"""``nnunet-multitask verify``: text, JSON and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raw_datasets import change, lesion_mask, make_dataset, save

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import check_schema, write_json

ALONE = ["--num-workers", "1"]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return make_dataset(tmp_path / "nnUNet_raw")


def test_nothing_wrong(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "1", *ALONE]) == 0
    captured = capsys.readouterr()
    assert "ERROR" not in captured.err
    assert "WARN" not in captured.err
    assert captured.out.splitlines() == [
        "Dataset001_Tiny: 4 training cases, 2 test cases",
        "subtype  training  test  with foreground",
        "  IPH           2     1                3",
        "  IVH           2     1                3",
        "0 errors, 0 warnings",
    ]


def test_faults_are_a_line_each(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask(4))
    change(dataset / "class_labels.json", lambda d: d["cases"].update(q={"labels": {"subtype": "IPH"}}))
    change(dataset / "dataset.json", lambda d: d.pop("overwrite_image_reader_writer"))
    assert main(["verify", "1", *ALONE]) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith(("ERROR", "WARN"))]
    assert lines == [
        f"ERROR [unknown-mask-value] {dataset}/labelsTr/a.nii.gz: expected the values [0, 1], got 4 (8 voxels)"
        " -> correct the mask or the labels of dataset.json",
        f"ERROR [missing-image] {dataset}/class_labels.json: cases/q: expected an image in imagesTr or imagesTs, "
        "found none -> add the image, or remove the entry",
        f'WARN [image-reader] {dataset}/dataset.json: expected "overwrite_image_reader_writer": "SimpleITKIO", which '
        "fixes the order of slices -> set it",
    ]
    assert captured.out.splitlines()[-1] == "2 errors, 1 warning"


def test_json(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(dataset / "labelsTr" / "a.nii.gz", lesion_mask(4))
    assert main(["verify", "Dataset001_Tiny", "--json", *ALONE]) == 1
    document = json.loads(capsys.readouterr().out)
    check_schema(document, "verification.json", "stdout")
    assert document["ok"] is False
    assert [error["code"] for error in document["errors"]] == ["unknown-mask-value"]


def test_warnings_fail_where_told(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(dataset / "dataset.json", lambda d: d.pop("overwrite_image_reader_writer"))
    assert main(["verify", "1", *ALONE]) == 0
    assert main(["verify", "1", "--strict", *ALONE]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 errors, 1 warning"


def test_folds_are_found_in_the_preprocessed_folder(dataset: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    folds = tmp_path / "nnUNet_preprocessed" / dataset.name / "splits_final.json"
    write_json(folds, [{"train": ["a", "b"], "val": ["b", "c", "d"]}])
    assert main(["verify", "1", *ALONE]) == 1
    assert f"ERROR [leaking-case] {folds}: fold 0: expected every case on one side, got b" in capsys.readouterr().err
    other = tmp_path / "other.json"
    write_json(other, [{"train": ["a", "b"], "val": ["c", "d"]}])
    assert main(["verify", "1", "--splits", str(other), *ALONE]) == 0
    monkeypatch.delenv("nnUNet_preprocessed")
    assert main(["verify", "1", *ALONE]) == 0
    folds.rename(dataset / "splits_final.json")  # planning would copy it
    assert main(["verify", "1", *ALONE]) == 1


def test_without_dataset_json(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "dataset.json").unlink()
    assert main(["verify", "1"]) == 1
    captured = capsys.readouterr()
    assert "ERROR [missing-file]" in captured.err
    assert captured.out == "1 error, 0 warnings\n"


def test_unknown_dataset(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "4"]) == 1
    assert "expected the dataset 4, found Dataset001_Tiny" in capsys.readouterr().err
