"""The two tables of PhysioNet CT-ICH, as published and with every fault that a spreadsheet can put into them."""

from __future__ import annotations

from pathlib import Path

import pytest
from physionet_source import HEADER, PATIENTS

from nnunet_multitask.dataset_conversion.physionet_tables import (
    Patient,
    SliceLabels,
    read_patient_table,
    read_slice_table,
)
from nnunet_multitask.errors import InputError, InputErrors


def slice_table(folder: Path, *rows: str, header: str = HEADER, end: str = "\r\n", begin: str = "") -> Path:
    path = folder / "slices.csv"
    path.write_bytes((begin + end.join([header, *rows]) + end).encode())
    return path


def patient_table(folder: Path, *rows: str, header: str = PATIENTS) -> Path:
    path = folder / "Patient_demographics.csv"
    path.write_bytes((header + "".join(f"{row}\r\n" for row in rows)).encode())
    return path


def test_rows_as_published(tmp_path: Path) -> None:
    table = read_slice_table(slice_table(tmp_path, "49,14,0,0,0,1,0,0,1", "80,8,1,1,0,0,0,0,0", "80,9,0,0,0,0,0,1,0"))
    assert table.patients == {
        49: {14: SliceLabels(("EDH",), True)},
        80: {8: SliceLabels(("IVH", "IPH"), False), 9: SliceLabels((), False)},
    }
    assert table.warnings == ()


@pytest.mark.parametrize(
    ("begin", "separator", "end"), [("\ufeff", ",", "\n"), ("", ";", "\r\n"), ("", "\t", "\n"), ("", " , ", "\r\n")]
)
def test_rows_as_spreadsheets_save_them(tmp_path: Path, begin: str, separator: str, end: str) -> None:
    row, header = (text.replace(",", separator) for text in ("049,14,0,0,0,1,0,0,1", HEADER))
    blank = separator.strip(" ") * 8
    table = read_slice_table(slice_table(tmp_path, row, blank, header=header, begin=begin, end=end))
    assert table.patients == {49: {14: SliceLabels(("EDH",), True)}}


def test_every_faulty_row_is_named(tmp_path: Path) -> None:
    rows = [
        "49,1,0,0,0,0,0,1,0",
        "49,2,0,0,0,2,0,0,0",
        "49,,0,0,0,0,0,1,0",
        "x,0,0,0,0,nan,0,1.0,",
        "49,1,1,0,0,0,0,0,0",
    ]
    with pytest.raises(InputErrors) as caught:
        read_slice_table(slice_table(tmp_path, *rows))
    faults = {error.where.rpartition(": ")[2]: error for error in caught.value.errors}
    assert {line: error.fault.rpartition("got ")[2] for line, error in faults.items()} == {
        "line 3": "Epidural '2'",
        "line 4": "SliceNumber ''",
        "line 5": "PatientNumber 'x', SliceNumber '0', Epidural 'nan', No_Hemorrhage '1.0', Fracture_Yes_No ''",
        "line 6": "expected slice 1 of patient 49 once, line 2 has it, too",
    }
    assert [error.code for error in faults.values()] == ["bad-row", "bad-row", "bad-row", "duplicate-row"]


def test_no_hemorrhage_that_contradicts_the_kinds(tmp_path: Path) -> None:
    table = read_slice_table(slice_table(tmp_path, "49,1,0,0,0,1,0,1,0", "49,2,0,0,0,0,0,0,0", "49,3,0,0,0,0,0,1,0"))
    assert table.patients[49][1].kinds == ("EDH",)
    assert table.patients[49][2].kinds == ()
    (warning,) = table.warnings
    assert warning.startswith("[contradicting-row] slices.csv: expected No_Hemorrhage to be 1 where no kind is")
    assert "got another in lines 2, 3 -> the kinds count" in warning


def test_missing_column(tmp_path: Path) -> None:
    header = HEADER.replace("Subdural,", "")
    with pytest.raises(InputError, match=r"\[bad-table\] .*expected the columns .*, got no Subdural -> take the table"):
        read_slice_table(slice_table(tmp_path, "49,1,0,0,0,0,1,0", header=header))


def test_patients_as_published(tmp_path: Path) -> None:
    path = patient_table(tmp_path, "49,31,Male,,,,1,,1,", "50,0.0027,Female,,1,1,,,,chronic", ",,,,,,,,,")
    patients, warnings = read_patient_table(path)
    assert patients == {
        49: Patient(31, "male", ("EDH",), True),
        50: Patient(0.0027, "female", ("IPH", "SAH"), False, "chronic"),
    }
    assert warnings == []
    assert patients[50].attributes() == {"age_years": 0.0027, "sex": "female", "note": "chronic"}
    assert isinstance(patients[49].age_years, int)
    assert Patient().attributes() == {}


def test_header_of_the_first_releases(tmp_path: Path) -> None:
    patients, warnings = read_patient_table(
        patient_table(tmp_path, "49,31,M", header="\ufeffPatient Number,Age(years),Gender\n")
    )
    assert patients == {49: Patient(31, "male")}
    assert warnings == []


def test_odd_cells_are_unknown(tmp_path: Path) -> None:
    patients, warnings = read_patient_table(patient_table(tmp_path, "49,old,?,x,,,,,2,", "50,-3,Male,,,,,,,"))
    assert patients == {49: Patient(None, None, (), False), 50: Patient(None, "male", (), False)}
    assert [warning.split(" -> ")[0] for warning in warnings] == [
        "[bad-cell] Patient_demographics.csv: line 4: expected an age in years, got 'old'; it is unknown",
        "[bad-cell] Patient_demographics.csv: line 4: expected Male or Female, got '?'; it is unknown",
        "[bad-cell] Patient_demographics.csv: line 4: expected 1, 0 or nothing for IVH, got 'x'; it is unknown",
        "[bad-cell] Patient_demographics.csv: line 4: expected 1, 0 or nothing for fracture, got '2'; it is unknown",
        "[bad-cell] Patient_demographics.csv: line 5: expected an age in years, got '-3'; it is unknown",
    ]


def test_faulty_patients(tmp_path: Path) -> None:
    with pytest.raises(
        InputErrors, match=r"line 5: expected patient 49 once(.|\n)*line 6: expected a patient number, got 'x'"
    ):
        read_patient_table(patient_table(tmp_path, "49,1,Male,,,,,,,", "49,2,Male,,,,,,,", "x,2,Male,,,,,,,"))
    with pytest.raises(
        InputError, match=r"\[bad-table\] .*expected a header with the column Patient Number, found none"
    ):
        read_patient_table(patient_table(tmp_path, "49,1,Male", header="Number,Age,Gender\n"))
    path = tmp_path / "latin.csv"
    path.write_bytes("Patient Number,Note1\n49,é\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"\[bad-table\] .*expected UTF-8 text"):
        read_patient_table(path)
