"""Targets and labels of cases from the rows of a class table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.columns import (
    Columns,
    as_number,
    class_names,
    known_value,
)
from nnunet_multitask.dataset_conversion.tables import LIST_SEPARATORS, NO_CLASS, Row
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Label, Target

# two classes that answer yes or no, in any case of letters; the second one is the positive one
ANSWERS = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("negative", "positive"), ("absent", "present"))

_NO_CLASS_CELLS = (NO_CLASS, "-", "[]")


@dataclass(frozen=True)
class DeclaredClasses:
    """What a user says of the classes of a target; a value beyond them is refused.

    Args:
        order: target to its classes in the order of the network's outputs.
        binary: target to its negative and its positive class.
    """

    order: Mapping[str, Sequence[str]]
    binary: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class ClassTable:
    """What a class table says.

    Args:
        targets: by name.
        cases: by case id.
        warnings: what a user should know.
        errors: rows and images that do not belong together.
    """

    targets: Mapping[str, Target]
    cases: Mapping[str, Case]
    warnings: tuple[str, ...] = ()
    errors: tuple[InputError, ...] = ()


def read_classes(path: Path, columns: Columns, rows: Mapping[str, Row], declared: DeclaredClasses) -> ClassTable:
    """Return targets and cases.

    A column whose classes are a pair of ``ANSWERS`` becomes a binary target, any other a multiclass one with its values
    in sorted order, unless the classes are declared. Whole numbers that are written with a decimal point in all rows
    lose it. An unknown value leaves the label away; in a multilabel target of several columns one unknown value does.

    Args:
        path: the table, for messages.
        columns: what its columns mean.
        rows: by case id.
        declared: what the user says of the classes.

    Raises:
        InputError: classes are declared for something that is no target.
        InputErrors: every value that is no declared class, or neither 0 nor 1 in a column of a multilabel target.
    """
    _check_declared(columns, declared)
    whole, warnings = _whole_numbers(columns, list(rows.values()), {*declared.order, *declared.binary})
    rows = {case_id: _without_points(row, whole) for case_id, row in rows.items()}
    targets = {name: _single_target(name, rows, declared) for name in columns.classes}
    errors: list[InputError] = []
    labels: dict[str, dict[str, Label]] = {case_id: {} for case_id in rows}
    for name, target in targets.items():
        for case_id, row in rows.items():
            value = known_value(row, name)
            if value is not None and value not in target.classes:
                errors.append(_unknown_class(path, row, name, value, target.classes))
            elif value is not None:
                labels[case_id][name] = value
    for name, parts in columns.multilabel.items():
        in_cells = parts == (name,)
        read = _classes_of_cell if in_cells else _classes_of_columns
        found = {case_id: read(path, row, parts, errors) for case_id, row in rows.items()}
        classes = tuple(declared.order.get(name, ()))
        if not classes:
            classes = tuple(sorted({c for label in found.values() for c in label or ()})) if in_cells else parts
        targets[name] = Target(name, "multilabel", classes)
        for case_id, label in found.items():
            unknown = [value for value in label or () if value not in classes]
            errors.extend(_unknown_class(path, rows[case_id], name, value, classes) for value in unknown)
            if label is not None:
                labels[case_id][name] = tuple(value for value in classes if value in label)
        warnings.extend(_partly_known(name, parts, rows))
    if errors:
        raise InputErrors(errors)
    numeric = {name for name in columns.attributes if _is_numeric(rows, name)}
    cases = {
        case_id: Case(
            labels[case_id],
            group=known_value(row, columns.group),
            split=row.values.get(columns.split or "") or None,
            attributes=_attributes(row, columns.attributes, numeric),
        )
        for case_id, row in rows.items()
    }
    return ClassTable(targets, cases, tuple(warnings))


def _check_declared(columns: Columns, declared: DeclaredClasses) -> None:
    single, multilabel = set(columns.classes), set(columns.multilabel)
    wrong = [name for name in declared.order if name not in single | multilabel]
    wrong += [name for name in declared.binary if name not in single or name in declared.order]
    if wrong:
        known = ", ".join(sorted(single | multilabel)) or "none"
        raise InputError(
            "unknown-target",
            "--class-order" if set(wrong) & set(declared.order) else "--binary",
            f"expected columns of classes ({known}), each declared once, got {', '.join(wrong)}",
            "name a column of --class-columns",
        )


def _single_target(name: str, rows: Mapping[str, Row], declared: DeclaredClasses) -> Target:
    if name in declared.binary:
        return Target(name, "binary", declared.binary[name])
    classes = tuple(declared.order.get(name, ())) or class_names(rows.values(), name)
    is_answer = tuple(text.lower() for text in classes) in ANSWERS
    return Target(name, "binary" if is_answer else "multiclass", classes)


def _unknown_class(path: Path, row: Row, name: str, value: str, classes: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(value, classes, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "correct the value, or declare the class"
    fault = f"expected {', '.join(classes)} or nothing as {name}, got {value[:80]!r}"
    return InputError("unknown-class", f"{path}: {row.place}", fault, remedy)


def _classes_of_cell(path: Path, row: Row, parts: Sequence[str], errors: list[InputError]) -> tuple[str, ...] | None:
    """Return the classes that a cell lists, or None where they are unknown."""
    value = known_value(row, parts[0])
    if value is None or value.lower() in _NO_CLASS_CELLS:
        return None if value is None else ()
    return tuple(dict.fromkeys(part.strip() for part in re.split(f"[{LIST_SEPARATORS}]", value) if part.strip()))


def _classes_of_columns(path: Path, row: Row, parts: Sequence[str], errors: list[InputError]) -> tuple[str, ...] | None:
    """Return the classes whose columns say 1, or None where one of them is unknown."""
    values = {name: known_value(row, name) for name in parts}
    for name, value in values.items():
        if value is not None and value not in ("0", "1"):
            fault = f"expected 0, 1 or nothing in the column {name}, got {value[:80]!r}"
            errors.append(InputError("unknown-class", f"{path}: {row.place}", fault, "correct the value"))
    return None if None in values.values() else tuple(name for name, value in values.items() if value == "1")


def _partly_known(name: str, parts: Sequence[str], rows: Mapping[str, Row]) -> list[str]:
    known = {case_id: sum(known_value(row, part) is not None for part in parts) for case_id, row in rows.items()}
    return [
        f"{case_id}: {count} of the {len(parts)} columns of {name} are known; its label of {name} is unknown"
        for case_id, count in known.items()
        if 0 < count < len(parts)
    ]


def _whole_numbers(columns: Columns, rows: Sequence[Row], declared: Collection[str]) -> tuple[set[str], list[str]]:
    """Return the columns of classes whose known values are all whole numbers with a decimal point, and warnings.

    Declared targets are passed over: one may well have a class that is called 1.0.
    """
    names = [name for name in columns.classes if name not in declared]
    names += [part for target, parts in columns.multilabel.items() if target not in declared for part in parts]
    whole = {name for name in names if _all_match(r"-?\d+\.0+", class_names(rows, name))}
    return whole, [
        f"the column {name} holds {', '.join(class_names(rows, name))}: read as whole numbers"
        for name in names
        if name in whole
    ]


def _without_points(row: Row, columns: set[str]) -> Row:
    values = {key: value.split(".")[0] if key in columns else value for key, value in row.values.items()}
    return Row(row.number, values, row.unit, row.lists)


def _is_numeric(rows: Mapping[str, Row], column: str) -> bool:
    values = class_names(rows.values(), column)
    codes = any(re.fullmatch(r"-?0\d+", value) for value in values)  # 007 is a name
    return not codes and all(as_number(value) is not None for value in values)


def _attributes(row: Row, columns: Sequence[str], numeric: set[str]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name in columns:
        value = known_value(row, name)
        if value is not None and name in numeric:
            attributes[name] = int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        elif value is not None:
            attributes[name] = value
    return attributes


def _all_match(pattern: str, texts: Sequence[str]) -> bool:
    return bool(texts) and all(re.fullmatch(pattern, text) for text in texts)
