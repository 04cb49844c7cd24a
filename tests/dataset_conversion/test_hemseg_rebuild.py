"""HemSeg images rebuilt from a folder of DICOM slices, on the voxels of masks as they were published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hemseg_slices import (
    DEPTH,
    SPLIT_OF,
    TILTS,
    Write,
    dicom,
    hu,
    mask_affine,
    read_list,
    run,
    slice_names,
    write_list,
    write_mask,
    write_source,
)

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.files import check_same_geometry, read_image, read_mask
from nnunet_multitask.labels import read_sidecar

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # as the UIDs of the challenge are


@pytest.fixture
def source(tmp_path: Path, write_dicom: Write) -> Path:
    return write_source(tmp_path, write_dicom)


def test_rebuilt_images_lie_on_the_voxels_of_their_masks(source: Path) -> None:
    folder = run(source).folder
    for scan, tilt in TILTS.items():
        part = "Ts" if SPLIT_OF[scan] == "test" else "Tr"
        image = read_image(folder / f"images{part}" / f"HEM_{scan}_0000.nii.gz")
        mask = read_mask(folder / f"labels{part}" / f"HEM_{scan}.nii.gz", (0, 1))
        np.testing.assert_array_equal(image.array, hu(scan))
        assert image.array.dtype == np.int16
        check_same_geometry(image, mask)
        np.testing.assert_allclose(image.affine, mask_affine(tilt), atol=1e-5)
        original = source / SPLIT_OF[scan] / "label" / f"{scan}.nii.gz"
        assert mask.path.read_bytes() == original.read_bytes()


def test_every_slice_is_in_the_report_with_its_checksum(source: Path) -> None:
    report = run(source).report
    inputs = report["cases"]["HEM_aaaaaaaaa1"]["inputs"]
    assert set(inputs) == {f"rsna/ID_{name}.dcm" for name in slice_names("aaaaaaaaa1")} | {
        "train/label/aaaaaaaaa1.nii.gz"
    }
    assert report["counts"] == {"training": 3, "test": 1, "label_only": 0, "repaired": 0, "excluded": 0}
    assert report["warnings"] == []
    assert report["options"]["rebuilt_from_dicom"] is True


def test_tilt_and_true_distance_of_slices_are_told(source: Path) -> None:
    sidecar = read_sidecar(run(source).folder / "class_labels.json")
    case = sidecar.cases["HEM_aaaaaaaaa1"]
    assert case.attributes == {"gantry_tilt_degrees": 20.5, "slice_distance_mm": pytest.approx(4.9995, abs=1e-3)}
    assert (case.group, case.split, case.labels) == ("ID_paaaaaaaaa1", "train", {"subtype": "IPH"})


def test_list_of_the_500(source: Path) -> None:
    lines = [
        {
            "patient_name": line["patient"],
            "scan_name": line["scan_"],
            "slice_list": {str(number): name for number, name in enumerate(line["slice_list"])},
        }
        for line in read_list(source)
    ]
    (source / "annotion_file_info.jsonl").unlink()
    write_list(source, lines, "annotion_file_info_500.jsonl")
    folder = run(source).folder
    np.testing.assert_array_equal(
        read_image(folder / "imagesTr" / "HEM_bbbbbbbbb1_0000.nii.gz").array, hu("bbbbbbbbb1")
    )


def test_slices_listed_twice_are_taken_once(source: Path) -> None:
    """The published lists of some scans name slices twice; the masks have each slice once."""
    lines = read_list(source)
    lines[0]["slice_list"] += lines[0]["slice_list"][:3]
    write_list(source, lines)
    report = run(source).report
    assert report["counts"]["excluded"] == 0
    assert report["warnings"] == ["HEM_aaaaaaaaa1: its list names 3 of 8 slices again; each was taken once"]


@pytest.mark.parametrize("fault", ["qform_only", "uint8"])
def test_masks_of_other_headers(source: Path, fault: str) -> None:
    path = source / "train" / "label" / "aaaaaaaaa1.nii.gz"
    write_mask(path, 20.5, qform_only=fault == "qform_only", dtype=np.uint8 if fault == "uint8" else np.int16)
    folder = run(source).folder
    image = read_image(folder / "imagesTr" / "HEM_aaaaaaaaa1_0000.nii.gz")
    check_same_geometry(image, read_mask(folder / "labelsTr" / "HEM_aaaaaaaaa1.nii.gz"))
    np.testing.assert_array_equal(image.array, hu("aaaaaaaaa1"))


def test_signed_pixels_declared_as_unsigned_are_repaired(source: Path) -> None:
    import pydicom

    for position in range(DEPTH):
        path = dicom(source, "aaaaaaaaa2", position)
        dataset = pydicom.dcmread(path)
        values = hu("aaaaaaaaa2")[position].astype(np.int16)
        values[3:5, 2:4] = 40
        dataset.PixelData = (values.astype(np.uint16) & 0x0FFF).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.RescaleIntercept = "0"
        dataset.save_as(path)
    report = run(source).report
    assert report["cases"]["HEM_aaaaaaaaa2"]["repairs"] == ["signed pixels of 5 slices were declared as unsigned"]


def test_tables_and_lists_in_another_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = source.parent / "clone"
    annotations.mkdir()
    for path in (*source.glob("*.csv"), *source.glob("*.jsonl")):
        path.rename(annotations / path.name)
    (annotations / "hemorrhage_volume.csv").write_text("filename,volume\naaaaaaaaa1,3\nzzzzzzzzz9,4\n")
    monkeypatch.setenv("nnUNet_raw", str(source.parent / "raw"))
    arguments = ["convert", "hemseg200", "--input", source, "--annotations", annotations, "--dataset-id", 200]
    arguments += ["--rsna-dicom", source.parent / "rsna", "--labels", "subtype", "--num-workers", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    folder = source.parent / "raw" / "Dataset200_HemSeg200"
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "IPH": 1, "IVH": 2}
    for scan, value in (("aaaaaaaaa1", 1), ("aaaaaaaaa2", 2), ("bbbbbbbbb1", 2)):
        mask = read_mask(folder / "labelsTr" / f"HEM_{scan}.nii.gz", (0, 1, 2))
        assert np.unique(mask.array).tolist() == [0, value]
        assert np.count_nonzero(mask.array) == 12


def test_two_workers_write_the_same(source: Path) -> None:
    first = run(source)
    files = {path.name: path.read_bytes() for path in first.folder.rglob("*.nii.gz")}
    second = run(source, ConversionOptions(overwrite=True, progress=False, num_workers=2))
    assert second.report == first.report
    assert {path.name: path.read_bytes() for path in second.folder.rglob("*.nii.gz")} == files


@pytest.mark.parametrize("scan", ["aaaaaaaaa1", "aaaaaaaaa2"])
def test_the_series_reader_of_itk_gives_the_same_image(source: Path, tmp_path: Path, scan: str) -> None:
    """The published script, with the reader that it used: the folder of a scan, its first series, all slices."""
    import SimpleITK as sitk

    for position in range(DEPTH):
        path = dicom(source, scan, position)
        (tmp_path / "one").mkdir(exist_ok=True)
        (tmp_path / "one" / path.name).write_bytes(path.read_bytes())
    (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path / "one"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "one"), series))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "itk.nii.gz"))
    rebuilt = read_image(run(source).folder / "imagesTr" / f"HEM_{scan}_0000.nii.gz")
    itk = read_image(tmp_path / "itk.nii.gz")
    np.testing.assert_array_equal(rebuilt.array, itk.array)
    check_same_geometry(itk, rebuilt)
