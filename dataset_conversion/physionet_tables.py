"""The two tables of PhysioNet CT-ICH: what each slice shows, and who each patient is."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_multitask.dataset_conversion.tables import Row, read_table
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.storage import read_bytes

KIND_COLUMNS = {
    "IVH": "Intraventricular",
    "IPH": "Intraparenchymal",
    "SAH": "Subarachnoid",
    "EDH": "Epidural",
    "SDH": "Subdural",
}
KINDS = tuple(KIND_COLUMNS)

_SLICE_COLUMNS = ("PatientNumber", "SliceNumber", *KIND_COLUMNS.values(), "No_Hemorrhage", "Fracture_Yes_No")
_SHOWN = 5  # lines that a message lists
_OLDEST_YEARS = 120


@dataclass(frozen=True)
class SliceLabels:
    """What the radiologists saw on one slice: the kinds of hemorrhage, in the order of ``KINDS``, and a fracture."""

    kinds: tuple[str, ...]
    fracture: bool


@dataclass(frozen=True)
class SliceTable:
    """The table of slices: patient number to slice number to labels, and what is odd about it."""

    patients: Mapping[int, Mapping[int, SliceLabels]]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patient:
    """One row of the table of patients; None where it says nothing.

    Args:
        age_years: from 0 on, fractions for infants.
        sex: ``female`` or ``male``.
        kinds: of hemorrhage, in the order of ``KINDS``.
        fracture: of the skull.
        note: free text.
    """

    age_years: float | None = None
    sex: str | None = None
    kinds: tuple[str, ...] | None = None
    fracture: bool | None = None
    note: str = ""

    def attributes(self) -> dict[str, float | str]:
        """Return what is known beyond the labels, for the sidecar."""
        values = {"age_years": self.age_years, "sex": self.sex, "note": self.note or None}
        return {name: value for name, value in values.items() if value is not None}


def read_slice_table(path: Path) -> SliceTable:
    """Read ``hemorrhage_diagnosis_raw_ct.csv`` (1.3.x) or ``hemorrhage_diagnosis.csv`` (1.0 to 1.2).

    Returns:
        The labels. Where the column No_Hemorrhage contradicts the five kinds, the kinds count and a warning says so.

    Raises:
        InputError: the file is missing or no table, or columns are missing.
        InputErrors: every row with other values than numbers and 0 or 1, and every slice named twice.
    """
    columns, rows = read_table(path)
    absent = [name for name in _SLICE_COLUMNS if name not in columns]
    if absent:
        fault = f"expected the columns {', '.join(_SLICE_COLUMNS)}, got no {', '.join(absent)}"
        raise InputError("bad-table", path, fault, "take the table as it was published")
    patients: dict[int, dict[int, SliceLabels]] = {}
    lines: dict[tuple[int, int], int] = {}
    contradictory: list[int] = []
    errors: list[InputError] = []
    for row in rows:
        place = f"{path}: line {row.number}"
        wrong = _wrong_cells(row)
        if wrong:
            expected = "expected whole numbers from 1 on for patient and slice, and 0 or 1 elsewhere"
            errors.append(InputError("bad-row", place, f"{expected}, got {', '.join(wrong)}", "correct the row"))
            continue
        patient, number = int(row.values["PatientNumber"]), int(row.values["SliceNumber"])
        if (patient, number) in lines:
            fault = f"expected slice {number} of patient {patient} once, line {lines[patient, number]} has it, too"
            errors.append(InputError("duplicate-row", place, fault, "remove one of the two"))
            continue
        lines[patient, number] = row.number
        kinds = tuple(kind for kind, column in KIND_COLUMNS.items() if row.values[column] == "1")
        if (row.values["No_Hemorrhage"] == "1") == bool(kinds):
            contradictory.append(row.number)
        patients.setdefault(patient, {})[number] = SliceLabels(kinds, row.values["Fracture_Yes_No"] == "1")
    if errors:
        raise InputErrors(errors)
    warnings = []
    if contradictory:
        where = _lines(contradictory)
        fault = f"expected No_Hemorrhage to be 1 where no kind is, and 0 elsewhere, got another in {where}"
        remedy = "the kinds count; look at the slices"
        warnings.append(str(InputError("contradicting-row", path.name, fault, remedy)))
    return SliceTable(patients, tuple(warnings))


def read_patient_table(path: Path) -> tuple[dict[int, Patient], list[str]]:
    """Read ``Patient_demographics.csv``, whose header takes two rows, with line breaks and blanks inside its cells.

    Returns:
        The patients by number, and what is odd about the table. Blank cells of kinds and fracture mean none; a column
        that is not there is unknown of everybody.

    Raises:
        InputError: the file is missing, is no UTF-8 text, or has no column of patient numbers.
        InputErrors: every row without a number, and every patient named twice.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("bad-table", path, "expected UTF-8 text, got other bytes", "save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.count))
    rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    num_header = next((i for i, (_, cells) in enumerate(rows) if cells[0].isdigit()), len(rows))
    columns = _patient_columns([cells for _, cells in rows[:num_header]])
    if "number" not in columns:
        fault = "expected a header with the column Patient Number, found none"
        raise InputError("bad-table", path, fault, "take the table as it was published")
    patients: dict[int, Patient] = {}
    errors: list[InputError] = []
    warnings: list[str] = []
    for line, cells in rows[num_header:]:
        values = {name: cells[index] if index < len(cells) else "" for name, index in columns.items()}
        if not values["number"].isdigit():
            fault = f"expected a patient number, got {values['number'][:40]!r}"
            errors.append(InputError("bad-row", f"{path}: line {line}", fault, "correct the row"))
            continue
        number = int(values["number"])
        if number in patients:
            fault = f"expected patient {number} once, got a second row"
            errors.append(InputError("duplicate-row", f"{path}: line {line}", fault, "remove one of the two"))
        patients[number] = _patient(values, f"{path.name}: line {line}", warnings)
    if errors:
        raise InputErrors(errors)
    return patients, warnings


def _wrong_cells(row: Row) -> list[str]:
    """Return the cells of a row that are no numbers of the right kind, as ``column 'value'``."""
    wrong = []
    for name in _SLICE_COLUMNS:
        value = row.values[name]
        is_number = value.isascii() and value.isdigit()
        if not (is_number and int(value) >= 1 if name in _SLICE_COLUMNS[:2] else value in ("0", "1")):
            wrong.append(f"{name} {value[:40]!r}")
    return wrong


def _patient_columns(header: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the place of each column by what it means, whichever row of the header names it."""
    beginnings = {
        "number": ("patientnumber",),
        "age": ("age",),
        "sex": ("gender", "sex"),
        "fracture": ("fracture",),
        "note": ("note",),
        **{kind: (column.lower(),) for kind, column in KIND_COLUMNS.items()},
    }
    columns: dict[str, int] = {}
    for cells in header:
        for index, cell in enumerate(cells):
            name = "".join(cell.lower().split())
            for meaning, words in beginnings.items():
                if name.startswith(words):
                    columns.setdefault(meaning, index)
    return columns


def _patient(values: Mapping[str, str], place: str, warnings: list[str]) -> Patient:
    def warn(expected: str, value: str) -> None:
        fault = f"expected {expected}, got {value[:40]!r}; it is unknown"
        warnings.append(str(InputError("bad-cell", place, fault, "correct the table")))

    def flag(name: str) -> bool:
        if values[name] not in ("", "0", "1"):
            warn(f"1, 0 or nothing for {name}", values[name])
        return values[name] == "1"

    age = None
    if text := values.get("age", ""):
        try:
            age = float(text)
        except ValueError:
            age = None
        if age is None or not 0 <= age <= _OLDEST_YEARS:
            warn("an age in years", text)
            age = None
        elif age.is_integer():
            age = int(age)
    sex = None
    if text := values.get("sex", ""):
        sex = {"m": "male", "male": "male", "f": "female", "female": "female"}.get(text.lower())
        if sex is None:
            warn("Male or Female", text)
    has_kinds = all(kind in values for kind in KINDS)
    return Patient(
        age_years=age,
        sex=sex,
        kinds=tuple(kind for kind in KINDS if flag(kind)) if has_kinds else None,
        fracture=flag("fracture") if "fracture" in values else None,
        note=values.get("note", ""),
    )


def _lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"
