"""Tables as CSV files that a spreadsheet can open without taking a name for a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.storage import atomic_file

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table (UTF-8, comma, LF), all or nothing; None is an empty cell, texts are made safe."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([safe_cell(name) for name in header])
        writer.writerows([safe_cell(value) for value in row] for row in rows)


def safe_cell(value: Any) -> Any:
    """Return a value as it may stand in a CSV file: an apostrophe before a text that begins like a formula.

    Numbers and None come back as they are. ``plain_cell`` takes the apostrophe away again.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def plain_cell(text: str) -> str:
    """Return the text that ``safe_cell`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
