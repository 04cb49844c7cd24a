"""HemSeg-200: the faults that its publication has, and damaged or missing files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hemseg_source import AFFINE, SCANS, faults, report, run, save, write_source

from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions, convert
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import read_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


def test_depth_of_mask_differs(source: Path) -> None:
    save(source / "train" / "label" / "00000000a2.nii.gz", num_slices=5, mask=True)
    folder = run(source)
    assert report(folder)["counts"] == {"training": 2, "test": 1, "label_only": 0, "repaired": 0, "excluded": 1}
    (excluded,) = report(folder)["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_00000000a2", "shape-differs")
    assert "(4, 5, 6)" in excluded["reason"]
    assert "(5, 5, 6)" in excluded["reason"]
    assert "HEM_00000000a2" not in read_sidecar(folder / "class_labels.json").cases


def test_image_without_mask_is_left_out(source: Path) -> None:
    (source / "train" / "label" / "00000000a1.nii.gz").unlink()
    (excluded,) = report(run(source))["excluded"]
    assert excluded["reason"] == "there is no train/label/00000000a1.nii.gz"


def test_empty_mask_and_image_without_hounsfield_units_give_warnings(source: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), AFFINE), source / "train" / "label" / "00000000a1.nii.gz"
    )
    nibabel.save(
        nibabel.Nifti1Image(np.ones((6, 5, 4), np.uint8), AFFINE), source / "train" / "image" / "00000000a2.nii.gz"
    )
    assert report(run(source))["warnings"] == [
        "[mask-against-class] train/label/00000000a1.nii.gz: expected foreground, since its class says so, got an "
        "empty mask -> look at the case; correct mask or class",
        "[no-hounsfield] train/image/00000000a2.nii.gz: expected Hounsfield units, got uint8 voxels of 1 to 1, an "
        "8-bit picture -> convert the original CT, or give the channel another name, by which nnU-Net normalises it",
    ]


def test_images_missing_altogether(source: Path) -> None:
    for split in SCANS:
        for path in (source / split / "image").iterdir():
            path.unlink()
        (source / split / "image").rmdir()
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert len(caught.value.errors) == 3
    assert (
        "train/image: expected the images of 2 masks, found none -> build train/image/SCAN.nii.gz from the RSNA"
        in str(caught.value)
    )
    assert list((source.parent / "raw").iterdir()) == []


def test_one_image_missing(source: Path) -> None:
    (source / "val" / "image" / "00000000b1.nii.gz").unlink()
    save(source / "val" / "image" / "00000000b9.nii.gz")
    with pytest.raises(InputErrors, match=r"\[missing-image\] .*val/image/00000000b1.nii.gz: expected an image"):
        run(source)


def test_every_damaged_file_is_named_and_nothing_written(source: Path) -> None:
    first, second = source / "train" / "image" / "00000000a1.nii.gz", source / "test" / "label" / "00000000c1.nii.gz"
    first.write_bytes(first.read_bytes()[:-9])
    array = np.full((6, 5, 4), 3, np.int16)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), second)
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [error.code for error in caught.value.errors] == ["damaged-gzip", "unknown-mask-value"]
    assert list((source.parent / "raw").iterdir()) == []


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("filename,label\n00000000a1,2\n", r"train_set.csv: line 2: expected 0 \(IPH\) or 1 \(IVH\), got '2'"),
        ("filename,label\n00000000a1,1.0\n", "got '1.0'"),
        ("filename,label\n00000000a1,\n", "got ''"),
        (
            "filename,label\n00000000a2,0\n",
            r"val_set.csv: line 2: expected one class for 00000000a2, .*line 2 has another",
        ),
        ("scan,label\n00000000a1,0\n", "expected the columns filename and label, got scan, label"),
    ],
)
def test_faulty_tables(source: Path, table: str, text: str) -> None:
    (source / "train_set.csv").write_text(table)
    with pytest.raises(InputErrors, match=text):
        run(source)


def test_faulty_patient_file(source: Path) -> None:
    (source / "annotion_file_info.jsonl").write_text('{"patient": "ID_1", "scan_": "00000000a1"}\nnot json\n["a"]\n')
    with pytest.raises(InputErrors, match=r"jsonl: line 2: expected .*got not json(.|\n)*line 3"):
        run(source)


def test_other_layout(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"\[unknown-layout\] .*point --input"):
        convert(tmp_path, tmp_path / "raw", dataset_id=1)


def test_a_missing_image_hides_no_fault_of_the_other_files(source: Path) -> None:
    (source / "train" / "image" / "00000000a2.nii.gz").unlink()
    (source / "val" / "image" / "00000000b1.nii.gz").unlink()  # the only one of its split
    damaged = source / "train" / "image" / "00000000a1.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert faults(source) == [
        ("missing-image", "00000000a2.nii.gz"),
        ("missing-images", "image"),
        ("damaged-gzip", "00000000a1.nii.gz"),
    ]


def test_faulty_tables_hide_neither_each_other_nor_files(source: Path) -> None:
    (source / "train_set.csv").write_text("filename,label\n00000000a1,2\n")
    with (source / "annotion_file_info.jsonl").open("a") as lines:
        lines.write("garbage\n")
    damaged = source / "train" / "label" / "00000000a1.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for labels in ("binary", "subtype"):
        assert faults(source, hemseg=HemSegOptions(labels=labels, resplit=True)) == [  # type: ignore[arg-type]
            ("unknown-class", "train_set.csv: line 2"),
            ("bad-json", "annotion_file_info.jsonl: line 5"),
            ("damaged-gzip", "00000000a1.nii.gz"),
        ]


def test_scans_without_image_are_left_out_by_option(source: Path) -> None:
    (source / "train" / "image" / "00000000a2.nii.gz").unlink()
    (source / "test" / "image" / "00000000c1.nii.gz").unlink()  # the only one of its split
    with pytest.raises(InputErrors, match="or leave the scans out by --allow-missing"):
        run(source)
    folder = run(source, hemseg=HemSegOptions(allow_missing=True))
    assert report(folder)["counts"] == {"training": 2, "test": 0, "label_only": 0, "repaired": 0, "excluded": 2}
    assert [(item["case"], item["code"], item["reason"]) for item in report(folder)["excluded"]] == [
        ("HEM_00000000a2", "missing-image", "there is no train/image/00000000a2.nii.gz"),
        ("HEM_00000000c1", "missing-image", "there is no test/image/00000000c1.nii.gz"),
    ]
    assert report(folder)["options"]["allow_missing"] is True
