"""HemSeg images rebuilt from a folder of DICOM slices, on the voxels of masks as they were published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.cli.main import main
from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions, convert
from nnunet_multitask.dataset_conversion.sources import Conversion, ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputErrors
from nnunet_multitask.files import check_same_geometry, read_image, read_mask
from nnunet_multitask.labels import read_sidecar

ROWS, COLUMNS, DEPTH = 8, 6, 5
FEED_MM = 5.3375483  # of the table; cos 20.5 degrees times that is 5 mm, as in a published scan
SPACING = (0.48828125, 0.5)  # of rows and of columns

TILTS = {"aaaaaaaaa1": 20.5, "aaaaaaaaa2": 0.0, "bbbbbbbbb1": 27.0, "ccccccccc1": 15.0}
SPLIT_OF = {"aaaaaaaaa1": "train", "aaaaaaaaa2": "train", "bbbbbbbbb1": "val", "ccccccccc1": "test"}
CLASS_OF = {"aaaaaaaaa1": 0, "aaaaaaaaa2": 1, "bbbbbbbbb1": 1, "ccccccccc1": 0}

Write = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # as the UIDs of the challenge are


def slice_names(scan: str) -> list[str]:
    return [f"{scan[0]}{scan[-1]}{position:07x}" for position in np.random.default_rng(len(scan)).permutation(DEPTH)]


def directions(tilt: float) -> np.ndarray:
    """Row, column and normal of a tilted gantry as columns, LPS."""
    angle = np.radians(tilt)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    return np.column_stack((row, column, np.cross(row, column)))


def hu(scan: str) -> np.ndarray:
    """Voxels (Z, Y, X) in the order of the mask: every one tells where it lies."""
    array = np.indices((DEPTH, ROWS, COLUMNS)) * np.array([100, 10, 1])[:, None, None, None]
    return (array.sum(axis=0) - 1000 + 10 * "abc".index(scan[0]) + int(scan[-1])).astype(np.int16)


def mask_affine(tilt: float) -> np.ndarray:
    """As ITK writes the series: the plane as direction, the feed of the table as spacing; RAS."""
    affine = np.eye(4)
    affine[:3, :3] = directions(tilt) * (SPACING[1], SPACING[0], FEED_MM)
    affine[:3, 3] = (-125, -120.5, 7.25)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_mask(path: Path, tilt: float, depth: int = DEPTH, dtype: type = np.int16, qform_only: bool = False) -> None:
    array = np.zeros((COLUMNS, ROWS, depth), dtype)
    array[2:5, 3:5, 1:3] = 1
    image = nibabel.Nifti1Image(array, None)
    image.set_qform(mask_affine(tilt), code=1)
    image.set_sform(None if qform_only else mask_affine(tilt), code=0 if qform_only else 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


@pytest.fixture
def source(tmp_path: Path, write_dicom: Write) -> Path:
    """Masks, tables, the list and a flat folder of slices, with the headers that the challenge's files have."""
    root = tmp_path / "source"
    lines = []
    for scan, tilt in TILTS.items():
        names = slice_names(scan)
        for name, array, position in zip(names, hu(scan), range(DEPTH), strict=True):
            write_dicom(
                tmp_path / "rsna" / f"ID_{name}.dcm",
                array + 1024,
                (-125, -120.5, 7.25 + FEED_MM * position),  # the table moves, not the plane
                tuple(directions(tilt)[:, :2].T.ravel()),
                PixelSpacing=[str(value) for value in SPACING],
                RescaleIntercept="-1024",
                SOPClassUID=None,  # it stands in the file's meta information only
                SOPInstanceUID=f"ID_{name}",
                StudyInstanceUID=f"ID_{scan}",
                SeriesInstanceUID=f"ID_5e{scan}",
                PatientID=f"ID_p{scan}",
                InstanceNumber=None,
            )
        lines.append({"patient": f"ID_p{scan}", "scan_": scan, "slice_list": names[::-1]})
        write_mask(root / SPLIT_OF[scan] / "label" / f"{scan}.nii.gz", tilt)
    for split in ("train", "val", "test"):
        rows = "".join(f"{scan},{CLASS_OF[scan]}\n" for scan in TILTS if SPLIT_OF[scan] == split)
        (root / f"{split}_set.csv").write_text(f"filename,label\n{rows}")
    write_list(root, lines)
    (tmp_path / "raw").mkdir()
    return root


def write_list(root: Path, lines: list[dict], name: str = "annotion_file_info.jsonl") -> None:
    (root / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_list(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "annotion_file_info.jsonl").read_text().splitlines()]


def run(source: Path, options: ConversionOptions | None = None, **particular: object) -> Conversion:
    hemseg = HemSegOptions(**{"rsna_dicom": source.parent / "rsna", **particular})  # type: ignore[arg-type]
    options = options or ConversionOptions(progress=False, num_workers=1)
    return convert(source, source.parent / "raw", dataset_id=200, hemseg=hemseg, options=options)


def dicom(source: Path, scan: str, position: int) -> Path:
    return source.parent / "rsna" / f"ID_{slice_names(scan)[position]}.dcm"


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


def test_mask_of_another_depth_is_excluded_and_named(source: Path) -> None:
    write_mask(source / "train" / "label" / "aaaaaaaaa1.nii.gz", 20.5, depth=DEPTH - 1)
    report = run(source).report
    (excluded,) = report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_aaaaaaaaa1", "shape-differs")
    assert "(4, 8, 6)" in excluded["reason"]
    assert "(5, 8, 6)" in excluded["reason"]


def test_mask_elsewhere_is_excluded_and_named(source: Path) -> None:
    write_mask(source / "train" / "label" / "aaaaaaaaa1.nii.gz", tilt=10)
    (excluded,) = run(source).report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_aaaaaaaaa1", "geometry-differs")


def test_slices_of_two_series_are_excluded_and_named(source: Path, write_dicom: Write) -> None:
    import pydicom

    for position in (3, 4):
        path = dicom(source, "aaaaaaaaa1", position)
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "ID_other"
        dataset.save_as(path)
    (excluded,) = run(source).report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_aaaaaaaaa1", "several-series")
    assert excluded["reason"] == "expected one stack of parallel slices, got 2 and 0 single slices"


def test_two_files_at_one_position_are_excluded_and_named(source: Path) -> None:
    copy = source.parent / "rsna" / "ID_copy.dcm"
    copy.write_bytes(dicom(source, "aaaaaaaaa1", 2).read_bytes())
    lines = read_list(source)
    lines[0]["slice_list"].append("copy")
    write_list(source, lines)
    (excluded,) = run(source).report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("HEM_aaaaaaaaa1", "ambiguous-slices")


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


def test_headers_that_name_another_study(source: Path) -> None:
    import pydicom

    path = dicom(source, "aaaaaaaaa1", 2)
    dataset = pydicom.dcmread(path)
    dataset.StudyInstanceUID, dataset.PatientID = "ID_zzz", "ID_yyy"
    dataset.save_as(path)
    assert run(source).report["warnings"] == [
        "[wrong-study] HEM_aaaaaaaaa1: expected slices of the study ID_aaaaaaaaa1 as the list says, their headers say "
        "ID_zzz -> compare image and mask",
        "[wrong-patient] HEM_aaaaaaaaa1: expected slices of the patient ID_paaaaaaaaa1 as the list says, their headers "
        "say ID_yyy -> compare image and mask",
    ]


def test_every_missing_slice_and_list_is_named(source: Path) -> None:
    for position in (1, 3):
        dicom(source, "aaaaaaaaa1", position).unlink()
    write_list(source, read_list(source)[:3])
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [(error.code, Path(error.where).name) for error in caught.value.errors] == [
        ("missing-slices", "annotion_file_info.jsonl: line 1"),
        ("missing-slice-list", "ccccccccc1.nii.gz"),
    ]
    assert "expected 5 slices in" in str(caught.value)
    assert "2 are not there, the first ID_" in str(caught.value)
    assert list((source.parent / "raw").iterdir()) == []


def test_a_cut_slice_and_a_damaged_mask_are_both_named(source: Path) -> None:
    cut, mask = dicom(source, "aaaaaaaaa1", 1), source / "train" / "label" / "aaaaaaaaa1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    mask.write_bytes(mask.read_bytes()[:-9])
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert {(error.code, error.where) for error in caught.value.errors} == {
        ("damaged-gzip", str(mask)),
        ("truncated-dicom", str(cut)),
    }
    assert list((source.parent / "raw").iterdir()) == []


def test_folders_that_are_not_there(source: Path) -> None:
    with pytest.raises(InputErrors, match=r"\[missing-folder\] .*none: .*no such folder -> check --rsna-dicom"):
        run(source, rsna_dicom=source / "none")
    (source / "annotion_file_info.jsonl").unlink()
    with pytest.raises(InputErrors, match=r"\[missing-file\] .*expected annotion_file_info\*.jsonl"):
        run(source)


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
    assert {path.name: len(path.read_bytes()) for path in second.folder.rglob("*.nii.gz")} == {
        name: len(content) for name, content in files.items()
    }


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


def test_scans_without_slices_or_list_are_left_out_by_option(source: Path) -> None:
    dicom(source, "aaaaaaaaa1", 1).unlink()
    write_list(source, read_list(source)[:3])
    report = run(source, allow_missing=True).report
    assert [(item["case"], item["code"]) for item in report["excluded"]] == [
        ("HEM_aaaaaaaaa1", "missing-slices"),
        ("HEM_ccccccccc1", "missing-slice-list"),
    ]
    assert "1 are not there, the first ID_" in report["excluded"][0]["reason"]


def test_a_faulty_line_is_not_reported_as_a_missing_list_too(source: Path) -> None:
    path = source / "annotion_file_info.jsonl"
    path.write_text("\n".join([*path.read_text().splitlines()[:3], "garbage"]) + "\n")
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [error.code for error in caught.value.errors] == ["bad-json"]
