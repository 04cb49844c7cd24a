"""Excel workbooks: what the cells show, and what no reader may guess."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from nnunet_multitask.dataset_conversion.tables import read_table
from nnunet_multitask.errors import InputError, InputErrors


def workbook(tmp_path: Path, *sheets: list[list[Any]], edit: Callable[[Any], Any] | None = None) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for index, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet {index + 1}")
        for row in rows:
            sheet.append(row)
    if edit is not None:
        edit(book.worksheets[0])
    path = tmp_path / "table.xlsx"
    book.save(path)
    return path


def test_values_as_they_show(tmp_path: Path) -> None:
    def edit(sheet: Any) -> None:
        sheet["A2"].number_format = "000"

    rows = [
        [None, None, None],
        ["case", " subtype ", "when"],
        [49, "IPH ", datetime.datetime(2024, 5, 6)],
        [None, None, None],
        ["b", 1.0, True],
        ["c", 1.5, None],
    ]
    path = workbook(tmp_path, rows, edit=lambda sheet: setattr(sheet["A3"], "number_format", "000"))
    names, found = read_table(path)
    assert names == ["case", "subtype", "when"]
    assert [(row.place, row.values) for row in found] == [
        ("row 3", {"case": "049", "subtype": "IPH", "when": "2024-05-06"}),
        ("row 5", {"case": "b", "subtype": "1", "when": "1"}),
        ("row 6", {"case": "c", "subtype": "1.5", "when": ""}),
    ]


def test_one_sheet_of_several(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["case"], ["a"]], [], [["case"], ["b"]])
    assert read_table(path, "Sheet 3")[1][0].values == {"case": "b"}
    with pytest.raises(InputError, match="expected one sheet with content, found 'Sheet 1', 'Sheet 3' -> name it by"):
        read_table(path)
    with pytest.raises(InputError, match="expected the sheet 'Sheet 2', found 'Sheet 1', 'Sheet 3' -> correct --sheet"):
        read_table(path, "Sheet 2")
    assert read_table(workbook(tmp_path, [["case"], ["a"]], []))[1][0].values == {"case": "a"}


@pytest.mark.parametrize(
    ("rows", "edit", "text"),
    [
        ([["case", "x"], ["a", 1]], lambda s: s.merge_cells("A2:B2"), "[merged-cells] FILE: Sheet 1!A2:B2"),
        ([["case", "x"], ["a", "=1+1"]], None, "[bad-cell] FILE: Sheet 1!B2: expected a value, got the formula =1+1"),
        (
            [["case", "x"], ["a", "#N/A"]],
            lambda s: setattr(s["B2"], "data_type", "e"),
            "!B2: expected a value, got the",
        ),
        ([["case", "x"], ["a", 1, 2]], None, "[bad-row] FILE: Sheet 1 row 2: expected 2 values, got more"),
        (
            [["case", None, "x"], ["a", 1, 2]],
            None,
            "[bad-table] FILE: Sheet 1: expected a header with each column once",
        ),
        ([["case", "case"], ["a", 1]], None, "[bad-table] FILE: Sheet 1: expected a header with each column once"),
        ([], None, "expected one sheet with content, found none with content"),
    ],
)
def test_refused(tmp_path: Path, rows: list[list[Any]], edit: Callable[[Any], Any] | None, text: str) -> None:
    path = workbook(tmp_path, rows, edit=edit)
    with pytest.raises((InputError, InputErrors)) as caught:
        read_table(path)
    assert text.replace("FILE", str(path)) in str(caught.value)


def test_all_bad_cells_at_once(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["case", "x"], ["a", "=1+1"], ["b", "=2+2"]])
    with pytest.raises(InputErrors) as caught:
        read_table(path)
    assert [error.where.rpartition("!")[2] for error in caught.value.errors] == ["B2", "B3"]


def test_no_workbooks(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    path.write_text("case,subtype\na,IPH\n")
    with pytest.raises(InputError, match=r"\[bad-table\] .*expected an Excel workbook, got: .* without a password"):
        read_table(path)
    with pytest.raises(InputError, match=r"\[missing-file\]"):
        read_table(tmp_path / "none.xlsx")
    old = tmp_path / "table.xls"
    old.write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(InputError, match=r"got an older format -> save the table as .xlsx or .csv"):
        read_table(old)
    other = tmp_path / "table.csv"
    other.write_text("case\na\n")
    with pytest.raises(InputError, match=r"\[needless-option\] .*--sheet X"):
        read_table(other, "X")
