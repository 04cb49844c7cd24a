"""What a class table, a sidecar or the names of the cases tell of the images that were found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.columns import ColumnOptions, find_columns
from nnunet_multitask.dataset_conversion.folder_settings import DEFAULT_SETTINGS, FolderSettings
from nnunet_multitask.dataset_conversion.layouts import Layout
from nnunet_multitask.dataset_conversion.matching import TableEntry, match_cases
from nnunet_multitask.dataset_conversion.table_classes import ClassTable, DeclaredClasses, read_classes
from nnunet_multitask.dataset_conversion.tables import read_table
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar

_COLUMN_SETTINGS = (
    "case_column",
    "split_column",
    "group_column",
    "class_columns",
    "multilabel",
    "class_order",
    "binary",
    "attribute_columns",
)
_MAX_LISTED = 5


def read_folder_classes(root: Path, layout: Layout, settings: FolderSettings) -> ClassTable:
    """Return what the table says of the images.

    Args:
        root: where the table is looked for.
        layout: the images.
        settings: what the user says.

    Returns:
        Targets and cases, with the errors of matching rows and images; nothing where the masks alone tell the classes
        and there is no table.

    Raises:
        InputError: no table, or several; columns that are missing.
        InputErrors: every class that is none, with the errors of matching.
    """
    path = _find_table(root, settings) if settings.table is None else Path(settings.table)
    if path is None:
        return ClassTable({}, {})
    if path.name.lower().endswith(".json") and _is_sidecar(read_json(path)):
        _check_no_column_settings(path, settings)
        sidecar = read_sidecar(path)
        entries = [TableEntry(case_id, f"cases/{case_id[:80]}") for case_id in sidecar.cases]
        found, warnings, errors = match_cases(path, entries, layout, allow_missing=settings.allow_missing)
        cases = {name: sidecar.cases[name] for name in found}
        return ClassTable(sidecar.targets, cases, tuple(warnings), tuple(errors))
    names, rows = read_table(path)
    columns = find_columns(
        path,
        names,
        rows,
        ColumnOptions(
            settings.case_column,
            settings.class_columns,
            settings.multilabel,
            settings.split_column,
            settings.group_column,
            settings.attribute_columns,
        ),
        need_classes=settings.classes_from_masks is None,
        known={*settings.class_order, *settings.binary},
    )
    entries = [TableEntry(row.values[columns.case], row.place) for row in rows]
    found, warnings, errors = match_cases(path, entries, layout, allow_missing=settings.allow_missing)
    declared = DeclaredClasses(settings.class_order, settings.binary)
    try:
        classes = read_classes(path, columns, {name: rows[index] for name, index in found.items()}, declared)
    except InputErrors as bad:
        raise InputErrors([*bad.errors, *errors]) from bad
    return replace(classes, warnings=(*columns.warnings, *warnings, *classes.warnings), errors=tuple(errors))


def _is_sidecar(document: Any) -> bool:
    return isinstance(document, Mapping) and {"version", "targets", "cases"} <= set(document)


def _check_no_column_settings(path: Path, settings: FolderSettings) -> None:
    needless = [name for name in _COLUMN_SETTINGS if getattr(settings, name) != getattr(DEFAULT_SETTINGS, name)]
    if needless:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in needless)
        fault = f"expected no options on columns, since the file is a sidecar, got {options}"
        raise InputError("needless-option", path, fault, "leave them out")


def _find_table(root: Path, settings: FolderSettings) -> Path | None:
    found = [*root.glob("*.csv"), *root.glob("*.tsv"), *root.glob("*.xlsx"), *root.glob(SIDECAR_NAME)]
    tables = sorted(
        path for path in found if not path.name.startswith((".", "~$"))
    )  # ~$ is the lock of an open workbook
    if not tables and settings.classes_from_masks is not None:
        return None
    if len(tables) != 1:
        fault = f"expected one .csv, .tsv or .xlsx file, found {', '.join(path.name for path in tables) or 'none'}"
        remedy = (
            f"name the table of classes (CSV, TSV, Excel, JSON or {SIDECAR_NAME}) by --table, or take the classes from "
            "the masks by --classes-from-masks; without classes there is nothing to convert"
        )
        raise InputError("missing-file", root, fault, remedy)
    return tables[0]


def find_groups(layout: Layout, classes: ClassTable, pattern: str | None) -> dict[str, str]:
    """Return the group that a regular expression finds in each case id.

    Args:
        layout: the images.
        classes: from the table, which must not know groups, too.
        pattern: with one part in brackets; None gives no groups.

    Raises:
        InputError: no such expression, groups in the table, or case ids without the pattern.
    """
    if pattern is None:
        return {}
    remedy = "write for example '(P[0-9]+)_'"
    try:
        expression = re.compile(pattern)
    except re.error as error:
        fault = f"expected a regular expression, got {pattern!r}: {error}"
        raise InputError("bad-pattern", "--group-pattern", fault, remedy) from error
    if expression.groups != 1:
        fault = f"expected one part in brackets, got {expression.groups} in {pattern!r}"
        raise InputError("bad-pattern", "--group-pattern", fault, remedy)
    if any(case.group is not None for case in classes.cases.values()):
        fault = "expected groups of the table or of the case ids, got both"
        raise InputError("duplicate-group", "--group-pattern", fault, "leave out the option or the column")
    found = {case_id: expression.search(case_id) for case_id in layout.cases}
    without = [case_id for case_id, match in found.items() if match is None or not match[1]]
    if without:
        more = f" and {len(without) - _MAX_LISTED} more" if len(without) > _MAX_LISTED else ""
        fault = f"expected {pattern!r} in every case id, got {', '.join(without[:_MAX_LISTED])}{more}"
        raise InputError("bad-pattern", "--group-pattern", fault, remedy)
    return {case_id: match[1] for case_id, match in found.items() if match is not None}
