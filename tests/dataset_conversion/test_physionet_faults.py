"""PhysioNet CT-ICH in the layout of 1.3.x: what is damaged or missing, and what contradicts something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from physionet_source import (
    HEADER,
    LAS,
    SLICES,
    blood,
    faults,
    read_itk,
    report,
    row,
    run,
    save,
    write_checksums,
    write_source,
    write_tables,
)

from nnunet_multitask.dataset_conversion.physionet_ct_ich import convert
from nnunet_multitask.dataset_conversion.raw_writer import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import read_sidecar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return write_source(tmp_path / "ct-ich")


@pytest.mark.parametrize(
    ("slices", "text"),
    [
        ([[], [], ["EDH"], []], "every slice that the table calls hemorrhage, got none in 4 ->"),
        ([["EDH"], [], ["EDH"], ["EDH"]], "every slice that the table calls free of hemorrhage, got blood in 1 ->"),
    ],
)
def test_mask_that_contradicts_the_table(source: Path, slices: list[list[str]], text: str) -> None:
    save(source / "masks" / "049.nii", blood(slices))
    (warning,) = report(run(source))["warnings"]
    assert warning.startswith("[mask-against-class] ICH_049: expected")
    assert text in warning


def test_rows_that_do_not_fit_the_scan(source: Path) -> None:
    write_tables(source, {**SLICES, 49: [*SLICES[49], ["EDH"]], 54: SLICES[54][:3]})
    folder = run(source)
    assert [warning.split(" -> ")[0] for warning in report(folder)["warnings"]] == [
        "[slice-count] ICH_049: expected a row of the table for each of the 4 slices, got 5 rows; "
        "rows without slice: 5",
        "[slice-count] ICH_054: expected a row of the table for each of the 4 slices, got 3 rows; "
        "slices without row: 4, their labels are unknown",
    ]
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases["ICH_054"].slices["findings"] == ((), (), (), None)
    assert len(cases["ICH_049"].slices["findings"]) == 4


def test_tables_that_contradict_each_other_or_miss_somebody(source: Path) -> None:
    path = source / "Patient_demographics.csv"
    text = (
        path.read_text().replace("49,19,Female,,,,1,,1,", "49,19,Female,,1,,,,,").replace("54,24,Female,,,,,,,\n", "")
    )
    path.write_text(text + "59,20,Male,,,,,,,\n")
    folder = run(source)
    assert [warning.split(" -> ")[0] for warning in report(folder)["warnings"]] == [
        "Patient_demographics.csv names patients without a scan: 59",
        "Patient_demographics.csv does not name 54: age and sex are unknown",
        "[contradicting-tables] Patient_demographics.csv: expected the kinds of hemorrhage of its slices for every "
        "patient, got another for 49",
        "[contradicting-tables] Patient_demographics.csv: expected the fracture of its slices for every patient, "
        "got another for 49",
    ]
    assert read_sidecar(folder / "class_labels.json").cases["ICH_054"].attributes == {}


def test_what_is_missing_is_refused_all_at_once_or_taken_by_option(source: Path) -> None:
    (source / "ct_scans" / "050.nii").unlink()
    (source / "masks" / "054.nii").unlink()
    path = source / "hemorrhage_diagnosis_raw_ct.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("80,")]
    path.write_text("\n".join([*lines, row(131, 1, [])]))
    found = faults(source)
    assert [(error.code, error.fault) for error in found] == [
        ("missing-image", "expected a scan of every patient in the table of slices, found none for 50, 131"),
        ("missing-image", "expected a scan for every mask, found none for 50"),
        ("missing-row", "expected rows for every scan, found none for 80"),
        ("missing-mask", "expected a mask for every scan, found none for 54"),
    ]
    assert found[0].where.endswith("ct-ich/ct_scans")
    assert found[3].where.endswith("ct-ich/masks")
    assert all("--allow-missing" in error.remedy for error in found)
    folder = run(source, allow_missing=True)
    assert report(folder)["counts"]["training"] == 3
    assert report(folder)["counts"]["label_only"] == 1
    assert len([warning for warning in report(folder)["warnings"] if warning.startswith("[missing-")]) == 4
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases["ICH_080"].labels == {}
    assert cases["ICH_080"].slices == {}
    assert cases["ICH_054"].labels["ich"] == "no_hemorrhage"
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "hemorrhage": 1, "ignore": 2}
    assert set(np.unique(read_itk(folder / "labelsTr" / "ICH_054.nii.gz"))) == {2}


def test_files_that_are_not_the_published_ones_are_named(source: Path) -> None:
    write_checksums(source)
    for name in ("ct_scans/049.nii", "masks/080.nii"):
        path = source / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # plain NIfTI has no checksum of its own
        path.write_bytes(content)
    found = faults(source)
    assert [(error.code, error.where.rpartition("ct-ich/")[2]) for error in found] == [
        ("checksum-differs", "ct_scans/049.nii"),
        ("checksum-differs", "masks/080.nii"),
    ]
    assert "of SHA256SUMS.txt, got" in found[0].fault
    assert "remove its line from SHA256SUMS.txt" in found[0].remedy


def test_changed_tables_and_faulty_checksums(source: Path) -> None:
    write_checksums(source)
    (source / "Patient_demographics.csv").write_text("Patient Number\n49\n")
    (error,) = faults(source)
    assert error.code == "checksum-differs"
    assert error.where.endswith("Patient_demographics.csv")
    (source / "SHA256SUMS.txt").write_text(f"{'0' * 64} *LICENSE.txt\nabc LICENSE.txt\n\n")
    (error,) = faults(source)
    assert (error.code, error.fault) == ("bad-checksums", "expected a SHA-256 and a file name, got 'abc LICENSE.txt'")
    assert error.where.endswith("SHA256SUMS.txt: line 2")


def test_every_damaged_scan_is_named(source: Path) -> None:
    truncated = source / "ct_scans" / "049.nii"
    truncated.write_bytes(truncated.read_bytes()[:-5])
    save(source / "masks" / "050.nii", blood(SLICES[50]) // 255 * 254)
    downwards = LAS.copy()
    downwards[2, 2] *= -1
    save(source / "ct_scans" / "054.nii", np.zeros((4, 7, 6)), downwards)
    save(source / "masks" / "080.nii", blood(SLICES[80])[:3])
    found = faults(source)
    assert [error.code for error in found] == ["truncated-file", "unknown-mask-value", "slice-order", "shape-differs"]
    assert found[1].fault == "expected the values 0 and 255, got 254 (8 voxels)"
    assert "from the skull base upwards" in found[2].fault


def test_names_that_are_no_patients(source: Path) -> None:
    save(source / "ct_scans" / "49.nii", np.zeros((4, 7, 6)))
    save(source / "ct_scans" / "049 (1).nii", np.zeros((4, 7, 6)))
    found = faults(source)
    assert [error.code for error in found] == ["bad-image-name", "duplicate-case"]
    assert found[0].fault == "expected a patient number as name, got '049 (1)'"
    assert found[1].fault == "expected patient 49 once, 049.nii is the same"


def test_unknown_labels(source: Path) -> None:
    with pytest.raises(InputError, match=r"\[unknown-labels\] .*expected binary or subtype, got 'kinds'"):
        run(source, labels="kinds")


def test_unknown_layouts(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(
        InputError, match=r"\[unknown-layout\] .*ct_scans \(1.3.x\) or Patients_CT .*, found neither ->"
    ):
        run(tmp_path / "nothing")
    (tmp_path / "ct_scans").mkdir()
    (tmp_path / "Patients_CT").mkdir()
    with pytest.raises(InputError, match=r"found both -> point --input"):
        convert(tmp_path, tmp_path / "raw", dataset_id=1)


def test_bone_channel_of_volumes_is_refused(source: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --bone-channel: .*use --windows ct-ich,ct-ich-bone"
    ):
        run(source, bone_channel=True)


def test_missing_files_and_faulty_tables_hide_no_fault_of_a_scan(source: Path) -> None:
    write_checksums(source)
    (source / "masks" / "080.nii").unlink()
    (source / "ct_scans" / "050.nii").unlink()
    path = source / "ct_scans" / "049.nii"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    missing = ["missing-image", "missing-image", "missing-mask"]
    for dry_run in (False, True):
        options = ConversionOptions(progress=False, num_workers=1, dry_run=dry_run)
        assert [error.code for error in faults(source, options=options)] == [*missing, "checksum-differs"]
    # a split that misses patients is one more fault
    assert [error.code for error in faults(source, split="ihsnet")] == [*missing, "missing-patient", "checksum-differs"]
    (source / "SHA256SUMS.txt").write_text(f"garbage\n{'0' * 64} ct_scans/049.nii\n")
    (source / "hemorrhage_diagnosis_raw_ct.csv").write_text(f"{HEADER}\n{row(49, 1, []).replace('49', 'x')}\n")
    (source / "Patient_demographics.csv").write_text("Age\n3\n")
    save(source / "masks" / "x.nii", blood(SLICES[49]))
    assert [(error.code, Path(error.where).name) for error in faults(source)] == [
        ("bad-image-name", "x.nii"),
        ("bad-checksums", "SHA256SUMS.txt: line 1"),
        ("bad-row", "hemorrhage_diagnosis_raw_ct.csv: line 2"),
        ("bad-table", "Patient_demographics.csv"),
        ("checksum-differs", "049.nii"),
    ]
