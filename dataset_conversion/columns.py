"""What the columns of a class table mean: cases, classes, splits and groups, and what is odd about the classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Target

MAX_CLASSES = 20  # a column of more values is found to be no column of classes
UNKNOWN_VALUES = ("NA", "N/A", "nan", "null", "?", "unknown")  # in any case, as an empty cell

SPLITS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "validation"),
    "test": ("test", "testing", "ts"),
}

_UNKNOWN = frozenset({"", *(value.lower() for value in UNKNOWN_VALUES)})
_SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}
_CASE_COLUMNS = ("case_id", "case", "id", "filename", "file", "name", "image", "scan")
_SPLIT_COLUMNS = ("split", "set", "part")
_GROUP_COLUMNS = ("group", "patient", "patient_id", "subject", "subject_id")
_NAMED_ROWS = 5  # rows that a message lists


@dataclass(frozen=True)
class Columns:
    """The columns of the table by what they mean, and what a user should know of them."""

    case: str
    classes: tuple[str, ...]
    split: str | None = None
    group: str | None = None
    warnings: tuple[str, ...] = ()


def find_columns(
    path: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    *,
    case_column: str | None = None,
    class_columns: Sequence[str] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
) -> Columns:
    """Return the columns that are named, and find the others by their names and values.

    Args:
        path: the table, for messages.
        names: the header.
        rows: all rows.
        case_column, class_columns, split_column, group_column: names from the header, or None to find them.

    Raises:
        InputError: a column is missing, or the column of splits holds other words than ``SPLITS`` lists.
    """
    wanted = [name for name in (case_column, split_column, group_column, *(class_columns or ())) if name is not None]
    absent = [name for name in dict.fromkeys(wanted) if name not in names]
    found = f"found {_listed(names)}"
    if absent:
        raise InputError(
            "missing-column", path, f"expected {_listed(absent)}, {found}", "correct the option or the header"
        )
    case = case_column or _first_match(names, _CASE_COLUMNS)
    if case is None:
        fault = f"expected a column of cases named {' or '.join(_CASE_COLUMNS)}, {found}"
        raise InputError("missing-column", path, fault, "name it by --case-column")
    split = split_column or _first_match(names, _SPLIT_COLUMNS)
    group = group_column or _first_match(names, _GROUP_COLUMNS)
    warnings: list[str] = []
    if class_columns is None:
        rest = [name for name in names if name not in (case, split, group)]
        class_columns = [name for name in rest if 2 <= len(class_names(rows, name)) <= MAX_CLASSES]
        warnings = [text for name in rest if (text := _doubt(rows, name)) is not None]
    if not class_columns:
        fault = f"expected a column of classes with 2 to {MAX_CLASSES} values, {found}"
        raise InputError("missing-column", path, fault, "name it by --class-columns")
    if split is not None:
        _check_splits(path, rows, split)
    for name in class_columns:
        warnings.extend(_likeness_warnings(name, class_names(rows, name)))
    return Columns(case, tuple(dict.fromkeys(class_columns)), split, group, tuple(warnings))


def known_value(row: Row, column: str | None) -> str | None:
    """Return the value of a row, or None where it is unknown, the row is without it, or there is no such column."""
    value = row.values.get(column or "", "")
    return None if value.lower() in _UNKNOWN else value


def class_names(rows: Iterable[Row], column: str) -> tuple[str, ...]:
    """Return the known values of a column in sorted order, each once; no row gives none."""
    return tuple(sorted({value for row in rows if (value := known_value(row, column)) is not None}))


def is_test(row: Row, column: str | None) -> bool:
    """Return whether the column of splits makes the row a test case."""
    return _SPLIT_OF.get(row.values.get(column or "", "").lower()) == "test"


def make_targets(columns: Columns, rows: Iterable[Row]) -> dict[str, Target]:
    """Return a target for each column of classes: binary where these are 0 and 1, else multiclass."""
    rows = list(rows)
    targets = {}
    for column in columns.classes:
        classes = class_names(rows, column)
        targets[column] = Target(column, "binary" if classes == ("0", "1") else "multiclass", classes)
    return targets


def _listed(names: Sequence[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _first_match(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _doubt(rows: Sequence[Row], column: str) -> str | None:
    """Return why a column that nobody named is probably no column of classes, if so."""
    classes = class_names(rows, column)
    num_known = sum(known_value(row, column) is not None for row in rows)
    if len(classes) > MAX_CLASSES:
        return (
            f"the column {column} has {len(classes)} values, more than {MAX_CLASSES}: it is taken for no column of "
            "classes; name the columns of classes by --class-columns"
        )
    if 2 <= len(classes) == num_known:
        return (
            f"the column {column} has as many classes as rows ({num_known}) and is probably no column of classes; "
            "name the columns of classes by --class-columns"
        )
    return None


def _check_splits(path: Path, rows: Sequence[Row], column: str) -> None:
    bad = [row for row in rows if row.values[column] and row.values[column].lower() not in _SPLIT_OF]
    if not bad:
        return
    shown = ", ".join(f"{row.values[column][:40]!r} (line {row.number})" for row in bad[:_NAMED_ROWS])
    more = f" and {len(bad) - _NAMED_ROWS} more rows" if len(bad) > _NAMED_ROWS else ""
    accepted = ", ".join("/".join(words) for words in SPLITS.values())
    raise InputError(
        "unknown-split",
        path,
        f"expected {accepted} or nothing in the column of splits {column}, got {shown}{more}",
        f"correct the values; a column of another meaning needs another name than {', '.join(_SPLIT_COLUMNS)}",
    )


def _likeness_warnings(column: str, classes: Sequence[str]) -> list[str]:
    warnings = []
    for index, first in enumerate(classes):
        for second in classes[index + 1 :]:
            if "".join(first.lower().split()) == "".join(second.lower().split()):
                reason = "differ only by upper and lower case or blanks"
            elif (number := _number(first)) is not None and number == _number(second):
                reason = "are equal as numbers"
            else:
                continue
            warnings.append(f"the classes {first!r} and {second!r} of the column {column} {reason}; are they one?")
    return warnings


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
