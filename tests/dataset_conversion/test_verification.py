"""Every fault of a raw dataset, found in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.documents import read_json, write_json


def save(path: Path, *, size: int = 4, value: int = 0, shift_mm: float = 0.0) -> None:
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.full((size, 4, 4), value, np.int16), affine), path)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "Dataset001_Test"
    for case, part in (("a", "Tr"), ("b", "Tr"), ("c", "Ts")):
        save(folder / f"images{part}" / f"{case}_0000.nii.gz")
        save(folder / f"labels{part}" / f"{case}.nii.gz", value=1)
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    write_json(folder / "dataset.json", document)
    cases = {"a": {"labels": {"t": "x"}}, "b": {"labels": {"t": "y"}}, "c": {"labels": {"t": "x"}}}
    write_json(
        folder / "class_labels.json",
        {"version": 1, "targets": {"t": {"type": "multiclass", "classes": ["x", "y"]}}, "cases": cases},
    )
    return folder


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    document = read_json(path)
    edit(document)
    write_json(path, document)


def codes(dataset: Path) -> list[str]:
    return [error.code for error in verify_dataset(dataset, progress=False).errors]


def test_nothing_wrong(dataset: Path) -> None:
    assert verify_dataset(dataset, progress=False).to_json() == {
        "version": 1,
        "dataset": "Dataset001_Test",
        "ok": True,
        "errors": [],
        "warnings": [],
        "counts": {"training": 2, "test": 1, "classes": {"t": {"x": 1, "y": 1, "unknown": 0}}},
    }


def test_test_images_need_neither_masks_nor_labels(dataset: Path) -> None:
    (dataset / "labelsTs" / "c.nii.gz").unlink()
    (dataset / "labelsTs").rmdir()
    change(dataset / "class_labels.json", lambda d: d["cases"].pop("c"))
    assert codes(dataset) == []


def test_faults_of_all_cases_come_at_once(dataset: Path) -> None:
    (dataset / "imagesTr" / "a_0000.nii.gz").write_bytes(b"\x1f\x8bno")
    save(dataset / "labelsTr" / "b.nii.gz", value=7)
    save(dataset / "labelsTr" / "z.nii.gz")
    save(dataset / "imagesTr" / "y_0000.nii.gz")
    change(dataset / "class_labels.json", lambda d: d["cases"].update(q={"labels": {}}))
    result = verify_dataset(dataset, progress=False)
    found = [(error.code, Path(error.where).name) for error in result.errors]
    assert found == [
        ("missing-image", "z.nii.gz"),
        ("damaged-gzip", "a_0000.nii.gz"),
        ("unknown-mask-value", "b.nii.gz"),
        ("missing-mask", "y.nii.gz"),
        ("case-count", "dataset.json"),
        ("missing-image", "q"),
        ("case-without-entry", "y"),
    ]
    assert [warning.code for warning in result.warnings] == ["unknown-labels"]
    assert result.class_counts == {"t": {"x": 1, "y": 1, "unknown": 1}}


def test_geometry(dataset: Path) -> None:
    save(dataset / "labelsTr" / "a.nii.gz", shift_mm=0.01)
    save(dataset / "labelsTr" / "b.nii.gz", size=5)
    assert codes(dataset) == ["geometry-differs", "shape-differs"]
    assert [e.code for e in verify_dataset(dataset, tolerance_mm=0.1, progress=False).errors] == ["shape-differs"]


@pytest.mark.parametrize(
    ("edit", "code", "text"),
    [
        (lambda d: d["cases"]["b"]["labels"].update(t="x"), "one-class", "add training cases for y"),
        (lambda d: d["cases"]["b"].pop("labels"), "one-class", "{'x': 1, 'y': 0, 'unknown': 1}"),
        (lambda d: d["cases"]["b"]["labels"].update(t="w"), "unknown-class", "'x', 'y', got 'w'"),
        (lambda d: d["cases"]["b"]["labels"].update(s="x"), "unknown-target", "got 's'"),
    ],
)
def test_faults_of_the_sidecar(dataset: Path, edit: Callable[[Any], Any], code: str, text: str) -> None:
    change(dataset / "class_labels.json", edit)
    (error,) = verify_dataset(dataset, progress=False).errors
    assert error.code == code
    assert text in str(error)


def test_multilabel_class_that_every_case_has(dataset: Path) -> None:
    def edit(document: Any) -> None:
        document["targets"]["t"]["type"] = "multilabel"
        document["cases"] = {"a": {"labels": {"t": ["x", "y"]}}, "b": {"labels": {"t": ["x"]}}}

    change(dataset / "class_labels.json", edit)
    (error,) = verify_dataset(dataset, progress=False).errors
    assert error.code == "one-class"
    assert "add training cases for x," in error.remedy


def test_missing_sidecar_does_not_hide_other_faults(dataset: Path) -> None:
    (dataset / "class_labels.json").unlink()
    save(dataset / "labelsTr" / "a.nii.gz", value=3)
    assert codes(dataset) == ["missing-sidecar", "unknown-mask-value"]


def test_faults_of_dataset_json(dataset: Path) -> None:
    change(dataset / "dataset.json", lambda d: d["channel_names"].update({"1": "MR"}))
    assert codes(dataset) == ["missing-channel"] * 3
    change(dataset / "dataset.json", lambda d: d.pop("labels"))
    assert codes(dataset) == ["bad-dataset-json"]
    (dataset / "dataset.json").unlink()
    assert codes(dataset) == ["missing-file"]


def test_case_on_both_sides_and_group_on_both_sides(dataset: Path) -> None:
    save(dataset / "imagesTs" / "a_0000.nii.gz")
    for case in "bc":
        change(dataset / "class_labels.json", lambda d, case=case: d["cases"][case].update(group="p"))
    change(dataset / "dataset.json", lambda d: d.pop("overwrite_image_reader_writer"))
    result = verify_dataset(dataset, progress=False)
    assert [error.code for error in result.errors] == ["duplicate-case"]
    assert [warning.code for warning in result.warnings] == ["image-reader", "group-in-both-parts"]
