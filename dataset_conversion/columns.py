"""What the columns of a class table mean: cases, classes, splits, groups and attributes, named or found."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_multitask.dataset_conversion.tables import LIST_SEPARATORS, Row
from nnunet_multitask.errors import InputError
from nnunet_multitask.splits import SPLITS, split_of

MAX_CLASSES = 20  # a column of more values is found to be no column of classes
UNKNOWN_VALUES = ("NA", "N/A", "nan", "null", "?", "unknown")  # in any case, as an empty cell

_UNKNOWN = frozenset({"", *(value.lower() for value in UNKNOWN_VALUES)})
_CASE_COLUMNS = ("case_id", "case", "id", "filename", "file", "name", "image", "scan")
_SPLIT_COLUMNS = ("split", "set", "part")
_GROUP_COLUMNS = ("group", "patient", "patient_id", "subject", "subject_id")
_NAMED_ROWS = 5  # rows that a message lists


@dataclass(frozen=True)
class ColumnOptions:
    """What a user says of the columns; the rest is found by names and values.

    Args:
        case, split, group: names of columns.
        classes: columns that hold one class a cell.
        multilabel: target to its columns of 0 and 1, each the name of a class. Without columns the target is a column
            itself, whose cells list classes, separated by ``;`` or ``|``, or say ``none``.
        attributes: columns for the attributes of the cases.
    """

    case: str | None = None
    classes: Sequence[str] | None = None
    multilabel: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    attributes: Sequence[str] = ()


@dataclass(frozen=True)
class Columns:
    """The columns of the table by what they mean, and what a user should know of them."""

    case: str
    classes: tuple[str, ...]
    multilabel: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    attributes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find_columns(
    path: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    options: ColumnOptions,
    *,
    need_classes: bool = True,
    known: Collection[str] = (),
) -> Columns:
    """Return the columns that are named, and find the others by their names and values.

    Args:
        path: the table, for messages.
        names: the header.
        rows: all rows.
        options: what the user says.
        need_classes: refuse a table without a column of classes.
        known: columns that are known to hold one class a cell, whatever their values look like.

    Raises:
        InputError: a column is missing or named twice, or the column of splits holds other words than ``SPLITS`` lists.
    """
    multilabel = {target: tuple(columns or (target,)) for target, columns in options.multilabel.items()}
    parts = [part for columns in multilabel.values() for part in columns]
    single = [name for name in (options.case, options.split, options.group) if name is not None]
    wanted = [*single, *(options.classes or ()), *parts, *options.attributes]
    absent = [name for name in dict.fromkeys(wanted) if name not in names]
    found = f"found {_listed(names)}"
    if absent:
        raise InputError(
            "missing-column", path, f"expected {_listed(absent)}, {found}", "correct the option or the header"
        )
    case = options.case or _first_match(names, _CASE_COLUMNS)
    if case is None:
        fault = f"expected a column of cases named {' or '.join(_CASE_COLUMNS)}, {found}"
        raise InputError("missing-column", path, fault, "name it by --case-column")
    split = options.split or _first_match(names, _SPLIT_COLUMNS)
    group = options.group or _first_match(names, _GROUP_COLUMNS)
    rest = [name for name in names if name not in (case, split, group, *parts, *options.attributes)]
    lists = [name for name in rest if any(name in row.lists for row in rows)]
    multilabel.update({name: (name,) for name in lists})
    classes, warnings = options.classes, []
    if classes is None:
        rest = [name for name in rest if name not in lists]
        doubts = {name: _doubt(rows, name) for name in rest if name not in known}
        warnings = [f"the column {name} {text}" for name, text in doubts.items() if text is not None]
        classes = [
            name for name in rest if name in known or (doubts[name] is None and len(class_names(rows, name)) > 1)
        ]
    if need_classes and not classes and not multilabel:
        fault = "; ".join([f"expected a column of classes with 2 to {MAX_CLASSES} values, {found}", *warnings])
        raise InputError("missing-column", path, fault, "name it by --class-columns")
    twice = sorted(set(classes) & set(multilabel))
    if twice:
        fault = f"expected one meaning for {_listed(twice)}, got --class-columns and --multilabel"
        raise InputError("duplicate-target", path, fault, "name the target otherwise")
    if split is not None:
        _check_splits(path, rows, split)
    for name in classes:
        warnings.extend(_class_warnings(name, class_names(rows, name)))
    return Columns(
        case, tuple(dict.fromkeys(classes)), multilabel, split, group, tuple(options.attributes), tuple(warnings)
    )


def known_value(row: Row, column: str | None) -> str | None:
    """Return the value of a row, or None where it is unknown, the row is without it, or there is no such column."""
    value = row.values.get(column or "", "")
    return None if is_unknown(value) else value


def is_unknown(text: str) -> bool:
    """Return whether a cell of that text says that the value is unknown."""
    return text.lower() in _UNKNOWN


def class_names(rows: Iterable[Row], column: str) -> tuple[str, ...]:
    """Return the known values of a column in sorted order, each once; no row gives none."""
    return tuple(sorted({value for row in rows if (value := known_value(row, column)) is not None}))


def _listed(names: Sequence[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _first_match(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _doubt(rows: Sequence[Row], column: str) -> str | None:
    """Return why a column that nobody named is not taken for a column of classes, and what to do; None where it is."""
    classes = class_names(rows, column)
    num_known = sum(known_value(row, column) is not None for row in rows)
    option = "name it by --class-columns"
    if len(classes) > MAX_CLASSES:
        reason = f"has {len(classes)} values, more than {MAX_CLASSES}"
    elif any(set(name) & set(LIST_SEPARATORS) for name in classes):
        reason = f"holds {LIST_SEPARATORS[0]} or {LIST_SEPARATORS[1]}, as lists of classes do"
        option = f"name it by --multilabel {column}, or by --class-columns where such a cell is one class"
    elif len(classes) > 2 and all(as_number(name) is not None for name in classes):
        reason = f"holds {len(classes)} numbers, as an age or a score would"
    elif len(classes) > 2 and 2 * len(classes) > num_known:
        reason = f"has {len(classes)} values in {num_known} rows, about one class a row"
    else:
        return None
    return f"{reason}: it is not taken; {option}, or by --attribute-columns"


def _check_splits(path: Path, rows: Sequence[Row], column: str) -> None:
    bad = [row for row in rows if row.values[column] and split_of(row.values[column]) is None]
    if not bad:
        return
    shown = ", ".join(f"{row.values[column][:40]!r} ({row.place})" for row in bad[:_NAMED_ROWS])
    more = f" and {len(bad) - _NAMED_ROWS} more rows" if len(bad) > _NAMED_ROWS else ""
    accepted = ", ".join("/".join(words) for words in SPLITS.values())
    raise InputError(
        "unknown-split",
        path,
        f"expected {accepted} or nothing in the column of splits {column}, got {shown}{more}",
        f"correct the values; a column of another meaning needs another name than {', '.join(_SPLIT_COLUMNS)}",
    )


def _class_warnings(column: str, classes: Sequence[str]) -> list[str]:
    warnings = []
    if len(classes) == 1:
        warnings.append(f"the column {column} holds one class only, {classes[0]!r}: nothing can be learned from it")
    if any(set(name) & set(LIST_SEPARATORS) for name in classes):
        warnings.append(
            f"the column {column} holds {LIST_SEPARATORS[0]} or {LIST_SEPARATORS[1]}: where a cell lists several "
            f"classes, say --multilabel {column}"
        )
    for index, first in enumerate(classes):
        for second in classes[index + 1 :]:
            if "".join(first.lower().split()) == "".join(second.lower().split()):
                reason = "differ only by upper and lower case or blanks"
            elif (number := as_number(first)) is not None and number == as_number(second):
                reason = "are equal as numbers"
            else:
                continue
            warnings.append(f"the classes {first!r} and {second!r} of the column {column} {reason}; are they one?")
    return warnings


def as_number(text: str) -> float | None:
    """Return the number that a text is, or None where it is none or not finite."""
    try:
        number = float(text.replace("_", "x"))  # Python reads 1_0 as ten
    except ValueError:
        return None
    return number if math.isfinite(number) else None
