"""Reading class tables as people save them: comma, semicolon or tab, with or without BOM, CRLF or LF; JSON; Excel."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import plain_cell
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.storage import read_bytes

LIST_SEPARATORS = ";|"  # between the classes of one cell
NO_CLASS = "none"  # a cell that says that no class is present, which an empty one does not

_JSON_CASE, _JSON_CLASS = "case", "class"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        number: line of the file, the header being 1; of a JSON file the number of the entry from 1 on.
        values: column name to value, without blanks around either.
        unit: what is counted.
        lists: the columns whose value was a list of JSON, joined by a semicolon here.
    """

    number: int
    values: dict[str, str]
    unit: str = "line"
    lists: frozenset[str] = field(default=frozenset())

    @property
    def place(self) -> str:
        """Where the row stands in its file."""
        return f"{self.unit} {self.number}"


def read_table(path: str | Path, sheet: str | None = None) -> tuple[list[str], list[Row]]:
    """Read a table with a header, a JSON file, or a sheet of an Excel workbook.

    Args:
        path: a UTF-8 text file; the separator is the one of ``,`` ``;`` and tab that the header holds most often. Or a
            file with the ending ``.json``: a list of objects, ``{case: {column: value}}``, or ``{case: class}``, which
            has the columns ``case`` and ``class``. A value may be a list of classes, an empty one being ``none``. Or an
            Excel workbook, ``.xlsx``.
        sheet: of the workbook; None where only one has content.

    Returns:
        The column names and the rows; blank lines are passed over, and the apostrophe with which ``csv_files`` keeps
        texts from being formulas is taken away. A table may have no row.

    Raises:
        InputError: the file is missing, is no UTF-8 text or no JSON of these forms, has no header or a column name
            twice.
        InputErrors: rows with another number of values than the header, or values that are no text, number or list.
    """
    path = Path(path)
    if path.name.lower().endswith((".xlsx", ".xlsm", ".xls")):
        from nnunet_multitask.dataset_conversion.excel import read_workbook

        return read_workbook(path, sheet)
    if sheet is not None:
        raise InputError("needless-option", path, f"expected an Excel workbook, with --sheet {sheet}", "leave it out")
    if path.name.lower().endswith(".json"):
        return _read_json_rows(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("bad-table", path, "expected UTF-8 text, got other bytes", "save it as UTF-8") from error
    if "\0" in text:
        place = f"{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1}"
        raise InputError("bad-table", place, "expected text, got a NUL character", "save the table as UTF-8 text")
    header = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        lines = [(reader.line_num, values) for values in reader if any(value.strip() for value in values)]
    except csv.Error as error:
        fault = f"expected lines of text, got: {error}"
        raise InputError("bad-table", f"{path}: line {reader.line_num}", fault, "export the table again") from error
    columns = _without_blank_end([plain_cell(name.strip()) for name in lines[0][1]]) if lines else []
    if not any(columns) or len(set(columns)) < len(columns):
        fault = f"expected a header with each column once, got {columns}"
        raise InputError("bad-table", path, fault, "name every column in the first line")
    rows, errors = [], []
    for number, line in lines[1:]:
        values = [*line[: len(columns)], *_without_blank_end(line[len(columns) :])]
        if len(values) != len(columns):
            fault = f"expected {len(columns)} values, got {len(values)}"
            errors.append(InputError("bad-row", f"{path}: line {number}", fault, "correct the row"))
            continue
        rows.append(Row(number, dict(zip(columns, (plain_cell(value.strip()) for value in values), strict=True))))
    if errors:
        raise InputErrors(errors)
    return columns, rows


def _without_blank_end(values: list[str]) -> list[str]:
    """Return the values without blank ones at their end, which spreadsheets leave behind."""
    last = max((index for index, value in enumerate(values) if value.strip()), default=-1)
    return values[: last + 1]


def _read_json_rows(path: Path) -> tuple[list[str], list[Row]]:
    records = _records(read_json(path))
    if not records or not all(isinstance(record, Mapping) for record in records):
        fault = "expected a list of objects, {case: {column: value}} or {case: class}, got something else"
        raise InputError("bad-table", path, fault, "write one object for each case")
    columns = list(dict.fromkeys(name.strip() for record in records for name in record))
    rows, errors = [], []
    for number, record in enumerate(records, 1):
        values = dict.fromkeys(columns, "")
        if len({name.strip() for name in record}) < len(record):
            fault = f"expected each column once, got {list(record)}"
            errors.append(InputError("bad-row", f"{path}: entry {number}", fault, "correct the entry"))
        for name, value in record.items():
            text = _cell(value)
            if text is None:
                fault = f"expected a text, a number or a list of texts as {name!r}, got {str(value)[:80]}"
                errors.append(InputError("bad-row", f"{path}: entry {number}", fault, "correct the entry"))
            else:
                values[name.strip()] = text
        lists = frozenset(name.strip() for name, value in record.items() if isinstance(value, list))
        rows.append(Row(number, values, "entry", lists))
    if errors:
        raise InputErrors(errors)
    return columns, rows


def _records(document: Any) -> Sequence[Any]:
    """Return a record for each case; the key of a case wins over a column that is called the same."""
    if isinstance(document, Mapping):
        return [
            {**(value if isinstance(value, Mapping) else {_JSON_CLASS: value}), _JSON_CASE: case}
            for case, value in document.items()
        ]
    return document if isinstance(document, list) else []


def _cell(value: Any) -> str | None:
    """Return a value of JSON as a cell of a table holds it, or None where none can."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    if not isinstance(value, list):
        return None
    parts = [_cell(part) for part in value if not isinstance(part, list)]
    if len(parts) < len(value) or any(not part or set(part) & set(LIST_SEPARATORS) for part in parts):
        return None
    return LIST_SEPARATORS[0].join(str(part) for part in parts) or NO_CLASS
