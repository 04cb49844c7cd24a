"""Reading class tables as people save them: comma, semicolon or tab, with or without BOM, CRLF or LF."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from nnunet_multitask.errors import InputError, InputErrors


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        number: line of the file, the header being 1.
        values: column name to value, without blanks around either.
    """

    number: int
    values: dict[str, str]


def read_table(path: str | Path) -> tuple[list[str], list[Row]]:
    """Read a table with a header.

    Args:
        path: a UTF-8 text file; the separator is the one of ``,`` ``;`` and tab that the header holds most often.

    Returns:
        The column names and the rows; blank lines are passed over. A table may have no row.

    Raises:
        InputError: the file is missing, is no UTF-8 text, has no header or a column name twice.
        InputErrors: rows with another number of values than the header.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except OSError as error:
        raise InputError("missing-file", path, f"expected a table, got: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise InputError("bad-table", path, "expected UTF-8 text, got other bytes", "save it as UTF-8") from error
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns = [name.strip() for name in next(reader, [])]
    if not any(columns) or len(set(columns)) < len(columns):
        fault = f"expected a header with each column once, got {columns}"
        raise InputError("bad-table", path, fault, "name every column in the first line")
    rows, errors = [], []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            fault = f"expected {len(columns)} values, got {len(values)}"
            errors.append(InputError("bad-row", f"{path}: line {reader.line_num}", fault, "correct the row"))
            continue
        rows.append(Row(reader.line_num, dict(zip(columns, (value.strip() for value in values), strict=True))))
    if errors:
        raise InputErrors(errors)
    return columns, rows
