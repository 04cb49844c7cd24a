"""HemSeg-200: its layout, its masks and classes, and where the dataset is written."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hemseg_source import AFFINE, report, run, write_source

from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image
from nnunet_multitask.labels import Case, read_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


def test_whole_dataset(source: Path) -> None:
    folder = run(source)
    assert folder.name == "Dataset200_HemSeg200"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "class_labels.json",
        "conversion_report.json",
        "dataset.json",
        "imagesTr/HEM_00000000a1_0000.nii.gz",
        "imagesTr/HEM_00000000a2_0000.nii.gz",
        "imagesTr/HEM_00000000b1_0000.nii.gz",
        "imagesTs/HEM_00000000c1_0000.nii.gz",
        "labelsTr/HEM_00000000a1.nii.gz",
        "labelsTr/HEM_00000000a2.nii.gz",
        "labelsTr/HEM_00000000b1.nii.gz",
        "labelsTs/HEM_00000000c1.nii.gz",
    ]
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["labels"] == {"background": 0, "hemorrhage": 1}
    assert dataset["numTraining"] == 3
    assert dataset["file_ending"] == ".nii.gz"
    assert dataset["overwrite_image_reader_writer"] == "SimpleITKIO"
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.targets["subtype"].classes == ("IPH", "IVH")
    assert sidecar.targets["subtype"].type == "multiclass"
    assert sidecar.cases == {
        "HEM_00000000a1": Case({"subtype": "IPH"}, "ID_1", "train"),
        "HEM_00000000a2": Case({"subtype": "IVH"}, "ID_2", "train"),
        "HEM_00000000b1": Case({"subtype": "IVH"}, "ID_3", "val"),
        "HEM_00000000c1": Case({"subtype": "IPH"}, "ID_4", "test"),
    }
    assert report(folder)["counts"] == {"training": 3, "test": 1, "label_only": 0, "repaired": 0, "excluded": 0}
    assert report(folder)["warnings"] == []


def test_files_are_copied_and_the_source_is_untouched(source: Path) -> None:
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    folder = run(source)
    copy = folder / "imagesTr" / "HEM_00000000a1_0000.nii.gz"
    assert copy.read_bytes() == before[source / "train" / "image" / "00000000a1.nii.gz"]
    assert not copy.is_symlink()
    assert copy.stat().st_nlink == 1
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_scan_that_no_table_names_is_unknown(source: Path) -> None:
    (source / "test_set.csv").unlink()
    folder = run(source)
    assert read_sidecar(folder / "class_labels.json").cases["HEM_00000000b1"].labels == {}
    assert report(folder)["warnings"] == ["HEM_00000000b1: no table names its class; it is unknown"]


def test_float_mask_is_repaired(source: Path) -> None:
    path = source / "train" / "label" / "00000000a1.nii.gz"
    array = np.zeros((6, 5, 4), np.float32)
    array[2, 1, 3] = 1.0000153
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    folder = run(source)
    written = nibabel.load(folder / "labelsTr" / "HEM_00000000a1.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.asarray(written.dataobj)[2, 1, 3] == 1
    np.testing.assert_array_equal(written.affine, AFFINE)
    assert report(folder)["counts"]["repaired"] == 1
    assert report(folder)["cases"]["HEM_00000000a1"]["repairs"] == ["1 mask voxels beside an integer were rounded"]


def test_existing_dataset(source: Path) -> None:
    folder = run(source)
    (folder / "mine.txt").touch()
    with pytest.raises(InputError, match=r"\[already-exists\] .*--overwrite"):
        run(source)
    with pytest.raises(InputError, match=r"\[duplicate-dataset-id\] .*taken by Dataset200_HemSeg200"):
        run(source, dataset_name="Other")
    assert (folder / "mine.txt").exists()
    run(source, overwrite=True)
    assert not (folder / "mine.txt").exists()


def test_only_a_converted_dataset_is_replaced(source: Path) -> None:
    folder = source.parent / "raw" / "Dataset200_HemSeg200"
    folder.mkdir()
    run(source, overwrite=True)  # an empty folder is no loss
    (folder / "conversion_report.json").unlink()
    for overwrite in (False, True):
        with pytest.raises(
            InputError,
            match=r"expected nothing or a dataset written by a converter \(conversion_report.json\), "
            r"got a folder with other files -> move it away",
        ):
            run(source, overwrite=overwrite)
    assert (folder / "dataset.json").exists()


def test_qform_only_and_oblique_headers_arrive(source: Path) -> None:
    angle = np.deg2rad(12)
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]] @ AFFINE[:3, :3]
    for kind in ("image", "label"):
        array = np.full((6, 5, 4), -1000, np.int16) if kind == "image" else np.zeros((6, 5, 4), np.int16)
        array[2, 1, 3] = 1
        image = nibabel.Nifti1Image(array, None)
        image.set_qform(affine, code=1)
        image.set_sform(None, code=0)
        nibabel.save(image, source / "train" / kind / "00000000a1.nii.gz")
    volume = read_image(run(source) / "imagesTr" / "HEM_00000000a1_0000.nii.gz")
    z, y, x = np.argwhere(volume.array == 1)[0]
    np.testing.assert_allclose((volume.affine @ [x, y, z, 1])[:3], (affine @ [2, 1, 3, 1])[:3], atol=1e-4)


def test_labels_by_subtype(source: Path) -> None:
    folder = run(source, hemseg=HemSegOptions(labels="subtype"))
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "IPH": 1, "IVH": 2}
    for scan, value in (("00000000a1", 1), ("00000000a2", 2), ("00000000b1", 2)):
        written = nibabel.load(folder / "labelsTr" / f"HEM_{scan}.nii.gz")
        assert np.argwhere(np.asarray(written.dataobj)).tolist() == [[2, 1, 3]]
        assert np.asarray(written.dataobj)[2, 1, 3] == value
        np.testing.assert_array_equal(written.affine, AFFINE)
    original = source / "train" / "label" / "00000000a1.nii.gz"
    assert (folder / "labelsTr" / "HEM_00000000a1.nii.gz").read_bytes() == original.read_bytes()


def test_subtype_needs_a_class_and_a_mask_of_one_value(source: Path) -> None:
    (source / "test_set.csv").unlink()  # it named 00000000b1
    folder = run(source, hemseg=HemSegOptions(labels="subtype"))
    (excluded,) = report(folder)["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_00000000b1", "unknown-class")
    path = source / "train" / "label" / "00000000a1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((6, 5, 4), 2, np.int16), AFFINE), path)
    with pytest.raises(InputErrors, match=r"\[unknown-mask-value\] .*expected the values \[0, 1\], got 2"):
        run(source, overwrite=True, hemseg=HemSegOptions(labels="subtype"))
