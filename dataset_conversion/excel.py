"""Reading class tables from Excel workbooks: what a cell shows, never what a program might guess behind it."""

from __future__ import annotations

import datetime
import re
import zipfile
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.storage import read_bytes

ENDINGS = (".xlsx", ".xlsm")

_AGAIN = "save the table as .xlsx or .csv"


def read_workbook(path: str | Path, sheet: str | None = None) -> tuple[list[str], list[Row]]:
    """Read one sheet of a workbook; its first row that is not blank is the header.

    Whole numbers have no decimal point, and the leading zeros that a number format like 000 shows; dates are ISO dates;
    true and false are 1 and 0.

    Args:
        path: a file with the ending ``.xlsx`` or ``.xlsm``.
        sheet: its name; None where only one sheet has content.

    Returns:
        The column names and the rows, numbered as in Excel; blank rows are passed over. A table may have no row.

    Raises:
        InputError: no such file or sheet, no workbook, several sheets, no header or a column name twice.
        InputErrors: merged cells, cells with an Excel error, formulas without a stored value, values beside the header.
    """
    path = Path(path)
    shown, written = (_open(path, values) for values in (True, False))
    name = _find_sheet(path, shown, sheet)
    cells = [row for row in shown[name].iter_rows() if any(cell.value not in (None, "") for cell in row)]
    errors = [
        InputError("merged-cells", f"{path}: {name}!{merged}", "expected single cells, got merged ones", "unmerge them")
        for merged in shown[name].merged_cells.ranges
    ]
    for row in written[name].iter_rows():
        for cell in row:
            fault = _cell_fault(cell, shown[name][cell.coordinate])
            if fault is not None:
                errors.append(InputError("bad-cell", f"{path}: {name}!{cell.coordinate}", fault, "write the value"))
    if errors:
        raise InputErrors(errors)
    header = [_text(cell) for cell in cells[0]] if cells else []
    columns = header[: max((index + 1 for index, text in enumerate(header) if text), default=0)]
    if not all(columns) or not columns or len(set(columns)) < len(columns):
        fault = f"expected a header with each column once, got {columns}"
        raise InputError("bad-table", f"{path}: {name}", fault, "name every column in the first row")
    rows = []
    for row in cells[1:]:
        values = [_text(cell) for cell in row]
        if any(values[len(columns) :]):
            fault = f"expected {len(columns)} values, got more"
            errors.append(
                InputError("bad-row", f"{path}: {name} row {row[0].row}", fault, "name the columns, or clear")
            )
        rows.append(Row(row[0].row, dict(zip(columns, values, strict=False)), "row"))
    if errors:
        raise InputErrors(errors)
    return columns, rows


def _open(path: Path, values: bool) -> Any:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    read_bytes(path, limit=1)
    if not path.name.lower().endswith(ENDINGS):
        raise InputError("bad-table", path, f"expected one of {', '.join(ENDINGS)}, got an older format", _AGAIN)
    try:
        # not read_only: that mode does not tell which cells are merged
        return openpyxl.load_workbook(path, data_only=values)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        fault = f"expected an Excel workbook, got: {error}"
        raise InputError("bad-table", path, fault, f"{_AGAIN}, without a password") from error


def _find_sheet(path: Path, workbook: Any, wanted: str | None) -> str:
    filled = [
        sheet.title
        for sheet in workbook.worksheets
        if any(value not in (None, "") for row in sheet.iter_rows(values_only=True) for value in row)
    ]
    found = ", ".join(repr(name) for name in filled) or "none with content"
    if wanted is None and len(filled) == 1:
        return filled[0]
    if wanted is None:
        raise InputError("bad-table", path, f"expected one sheet with content, found {found}", "name it by --sheet")
    if wanted not in filled:
        raise InputError("bad-table", path, f"expected the sheet {wanted!r}, found {found}", "correct --sheet")
    return wanted


def _cell_fault(written: Any, shown: Any) -> str | None:
    """Return what is wrong with a cell, given what is written into it and the value stored for it."""
    if shown.data_type == "e":
        return f"expected a value, got the error {shown.value}"
    if written.data_type == "f" and shown.value is None:
        return f"expected a value, got the formula {str(written.value)[:60]} that no spreadsheet has computed yet"
    return None


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        text = str(int(value)) if float(value).is_integer() else str(value)
        return text.zfill(len(cell.number_format)) if re.fullmatch("0+", cell.number_format) else text
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value).strip()
