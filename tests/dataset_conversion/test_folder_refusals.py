"""The generic converter: what it refuses, all at once and before anything is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from folder_source import faults, make, run

from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import add_folder_arguments
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors


@pytest.mark.parametrize(
    ("table", "options", "text"),
    [
        ("case,c\na,x\na,y\nb,x\nc,y\n", {}, r"line 3: expected each case once, a is also in line 2"),
        ("what,c\na,x\n", {}, r"cases named case_id or case .*, found the columns what, c -> name it by --case-column"),
        ("case,c\na,x\nb,x\nc,x\n", {}, r"expected a column of classes with 2 to 20 values, found the columns case, c"),
        ("case,c\na,x\nb,y\nc,x\n", {"class_columns": ["d"]}, r"expected the column d, found the columns case, c ->"),
        (
            "case\na\n",
            {"class_columns": ["d", "case"], "split_column": "e"},
            r"expected the columns e, d, found the column case ->",
        ),
        (
            "case,c,split\na,x,dev\nb,y,\nc,x,7\n",
            {},
            r"\[unknown-split\] .*train/training/tr, val/validation, test/testing/ts or nothing in the column of "
            r"splits split, got 'dev' \(line 2\), '7' \(line 4\) ->",
        ),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["l", "l"]}, r"\[duplicate-label\] .*got l twice"),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["background", "l"]}, r"\[duplicate-label\] .*got background"),
        ("case,c\na_0000,x\nb,y\nc,x\n", {}, r"image of 'a_0000', found none .*_0000 at the end of an image name"),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["one"]}, r"\[unknown-mask-value\] .*got 2 \(1 voxels\)"),
        (
            "case,c\na,x\nb,y\nc,x\n",
            {"channel_names": ["A", "B"]},
            r"expected 2 channels a case, all 3 cases have the channel 0 -> ",
        ),
        ("case,c,split\na,x,test\nb,y,test\nc,x,test\n", {}, r"\[no-training-case\]"),
    ],
)
def test_refusals_write_nothing(tmp_path: Path, table: str, options: dict[str, Any], text: str) -> None:
    source = make(tmp_path, table)
    with pytest.raises((InputError, InputErrors), match=text):
        run(source, **options)
    assert list((tmp_path / "raw").iterdir()) == []


def test_shape_that_differs_refuses(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 2), np.int16), np.eye(4)), source / "labels" / "b.nii.gz")
    with pytest.raises(InputErrors, match=r"\[shape-differs\] .*labels/b.nii.gz"):
        run(source)


@pytest.mark.parametrize(("dataset_id", "name"), [(0, "A"), (1000, "A"), (1, "../A"), (1, ""), (1, "a b")], ids=str)
def test_impossible_dataset_names(tmp_path: Path, dataset_id: int, name: str) -> None:
    with pytest.raises(InputError, match=r"\[bad-dataset-name\]"):
        convert(tmp_path, tmp_path, dataset_id=dataset_id, dataset_name=name)


def test_masks_without_image_and_every_fault_at_once(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\na,y\nb,y\nz,x\n")
    (source / "labels" / "b.nii.gz").rename(source / "labels" / "other.nii.gz")
    assert faults(source) == ["duplicate-case", "missing-image", "missing-row", "missing-mask", "missing-image"]


def test_one_patient_and_one_image_on_both_sides(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c,patient,split\na,x,p,\nb,y,q,\nc,x,p,test\n")
    image = nibabel.load(source / "images" / "a.nii.gz")
    nibabel.save(image, source / "images" / "c.nii.gz")
    warnings = read_json(run(source) / "conversion_report.json")["warnings"]
    assert warnings[0].startswith("[group-in-two-splits] in: expected the group p in training or test, got a and c -> ")
    assert warnings[1].startswith("[duplicate-image] a (training), c (test): expected every image once")


@pytest.mark.parametrize("name", ["a b", "=cmd()", "-a", "<script>", "x" * 201], ids=lambda name: name[:8])
def test_case_ids_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    source = make(tmp_path, f'case,c\n"{name}",x\nb,y\nc,x\n')
    for kind in ("images", "labels"):
        (source / kind / "a.nii.gz").rename(source / kind / f"{name}.nii.gz")
    assert faults(source) == ["unsafe-case-id"]
    assert list((tmp_path / "raw").iterdir()) == []


def test_faults_of_rows_names_and_files_come_together(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc d,x\n", cases=["a", "b", "c d", "e"])
    (source / "images" / "b.nii.gz").write_bytes(b"text")
    (source / "labels" / "a.nii.gz").write_bytes(b"text")
    (source / "labels" / "e.nii.gz").unlink()
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert sorted((error.code, error.where.split("/in/")[-1]) for error in caught.value.errors) == [
        ("missing-mask", "labels/e.nii.gz"),
        ("missing-row", "images/e.nii.gz"),
        ("unsafe-case-id", "labels/c d.nii.gz"),
        ("wrong-ending", "images/b.nii.gz"),
        ("wrong-ending", "labels/a.nii.gz"),
    ]
    assert list((tmp_path / "raw").iterdir()) == []


@pytest.mark.parametrize("option", ["--images", "--labels"])
def test_folders_without_name_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_folder_arguments(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([option, ""])
    assert f"argument {option}: expected the name of a folder, got an empty text" in capsys.readouterr().err
