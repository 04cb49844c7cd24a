"""HemSeg images rebuilt from DICOM slices: what does not fit its mask or its list, is damaged or missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hemseg_slices import DEPTH, Write, dicom, read_list, run, write_list, write_mask, write_source

from nnunet_multitask.errors import InputErrors

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # as the UIDs of the challenge are


@pytest.fixture
def source(tmp_path: Path, write_dicom: Write) -> Path:
    return write_source(tmp_path, write_dicom)


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
