"""Class labels between a sidecar and the tables that people keep them in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.dataset_conversion.columns import ColumnOptions, Columns, find_columns, is_unknown
from nnunet_multitask.dataset_conversion.layouts import Layout, ending_of, find_layout
from nnunet_multitask.dataset_conversion.matching import TableEntry, match_cases
from nnunet_multitask.dataset_conversion.slice_tables import read_slice_classes, split_off_slices
from nnunet_multitask.dataset_conversion.table_classes import DeclaredClasses, read_classes
from nnunet_multitask.dataset_conversion.table_weights import WEIGHT_COLUMN, read_weights
from nnunet_multitask.dataset_conversion.tables import LIST_SEPARATORS, NO_CLASS, Row, read_table
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import SIDECAR_NAME, Case, Label, LabelSidecar, Target, read_sidecar

CASE_COLUMN, SPLIT_COLUMN, GROUP_COLUMN, SLICE_COLUMN = "case_id", "split", "group", "slice"
ATTRIBUTE_PREFIX = "attributes."  # no target has a point in its name


@dataclass(frozen=True)
class ImportOptions:
    """How a table is read into a sidecar.

    Args:
        columns: what the user says of the columns.
        declared: what the user says of the classes.
        sheet: of an Excel workbook; None where only one has content.
        slice_column: the table has a row for each axial slice, and this column holds its number.
        first_slice: number of the first slice.
        allow_missing: training images without row become entries without labels, rows without image are passed over.
        overwrite: replace the labels of targets that the sidecar has, and groups and splits that differ.
    """

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    declared: DeclaredClasses = field(default_factory=lambda: DeclaredClasses({}, {}))
    sheet: str | None = None
    slice_column: str | None = None
    first_slice: int = 0
    allow_missing: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Imported:
    """A sidecar with the labels of a table, not yet written.

    Args:
        sidecar: old and new labels.
        added, replaced: names of targets.
        warnings: what a user should know.
    """

    sidecar: LabelSidecar
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    warnings: tuple[str, ...]


def import_table(dataset: Path, table: Path, options: ImportOptions) -> Imported:
    """Read a class table and put its labels beside those that the sidecar of a dataset has.

    Columns that are called like a target of the sidecar are read as that target: with its type and its classes.

    Args:
        dataset: ``nnUNet_raw/DatasetNNN_NAME``; it need not have a sidecar yet.
        table: CSV, TSV, Excel or JSON, a row for each case, or for each slice. Test images need no row.
        options: of the import.

    Raises:
        InputError: the table or the sidecar cannot be read, a target exists, or nothing can be imported.
        InputErrors: every row and value that does not fit.
    """
    path = dataset / SIDECAR_NAME
    known = read_sidecar(path) if path.is_file() else LabelSidecar({}, {})
    names, rows = read_table(table, options.sheet)
    slice_of: dict[int, int] = {}
    if options.slice_column is not None:
        names, rows, slice_of = split_off_slices(table, names, rows, options.slice_column, options.first_slice)
    weighted = WEIGHT_COLUMN in names
    names = [name for name in names if name != WEIGHT_COLUMN]
    columns = _find_columns(table, names, rows, options, known.targets, weighted)
    rows_of: dict[str, list[Row]] = {}
    for row in rows:
        rows_of.setdefault(row.values[columns.case], []).append(row)
    heads = rows if options.slice_column is None else [members[0] for members in rows_of.values()]
    entries = [TableEntry(row.values[columns.case], row.place) for row in heads]
    layout = _images(dataset, entries)
    found, warnings, errors = match_cases(table, entries, layout, allow_missing=options.allow_missing)
    if errors:
        raise InputErrors(errors)
    row_of = {case_id: heads[index] for case_id, index in found.items()}
    weights = read_weights(table, row_of) if weighted else {}
    declared = _declared(options.declared, columns, known.targets)
    if options.slice_column is None:
        classes = read_classes(table, columns, row_of, declared)
    else:
        members_of = {case_id: rows_of[row.values[columns.case]] for case_id, row in row_of.items()}
        classes = read_slice_classes(table, columns, members_of, slice_of, declared)
    replaced = tuple(name for name in classes.targets if name in known.targets)
    if replaced and not options.overwrite:
        fault = f"expected new targets, got {', '.join(replaced)}, which it has"
        remedy = "use --overwrite to replace the labels of these targets, or name the new columns by --class-columns"
        raise InputError("already-exists", path, fault, remedy)
    targets, changed = _merge_targets(known.targets, classes.targets)
    errors = [] if options.overwrite else _conflicts(table, known.cases, classes.cases, row_of)
    if errors:
        raise InputErrors(errors)
    unnamed = [] if not options.allow_missing else sorted(set(layout.cases) - set(found) - set(known.cases))
    cases = {
        case_id: _merge_case(known.cases.get(case_id, Case()), classes.cases.get(case_id), targets, replaced, changed)
        for case_id in (*known.cases, *(c for c in classes.cases if c not in known.cases), *unnamed)
    }
    cases |= {case_id: replace(cases[case_id], weight=weight) for case_id, weight in weights.items()}
    dropped = [
        f"the target {name} has other classes now: its labels of slices are dropped"
        for name in changed
        if any(name in case.slices for case in known.cases.values())
    ]
    return Imported(
        LabelSidecar(targets, cases),
        tuple(name for name in classes.targets if name not in known.targets),
        replaced,
        (*columns.warnings, *warnings, *classes.warnings, *dropped),
    )


def export_table(sidecar: LabelSidecar, path: Path) -> list[str]:
    """Write a sidecar as CSV: a row for each case, which ``import_table`` reads again.

    The columns are ``case_id``, ``split``, ``group`` and ``sampling_weight`` where any case has one, the targets, and
    the attributes as ``attributes.NAME``. An unknown label is an empty cell; several classes are joined by a semicolon,
    none are ``none``. Labels of slices are left out.

    Args:
        sidecar: what to write.
        path: the file.

    Returns:
        What the table cannot hold, for the user.
    """
    cases = dict(sorted(sidecar.cases.items()))
    attributes = sorted({name for case in cases.values() for name in case.attributes})
    header = [CASE_COLUMN]
    header += [SPLIT_COLUMN] if any(case.split for case in cases.values()) else []
    header += [GROUP_COLUMN] if any(case.group for case in cases.values()) else []
    header += [WEIGHT_COLUMN] if any(case.weight != 1 for case in cases.values()) else []
    header += [*sidecar.targets, *(f"{ATTRIBUTE_PREFIX}{name}" for name in attributes)]
    rows = [
        [
            case_id,
            *([case.split] if SPLIT_COLUMN in header else []),
            *([case.group] if GROUP_COLUMN in header else []),
            *([case.weight] if WEIGHT_COLUMN in header else []),
            *(_label_cell(case.labels.get(name)) for name in sidecar.targets),
            *(_attribute_cell(case.attributes.get(name)) for name in attributes),
        ]
        for case_id, case in cases.items()
    ]
    write_csv(path, header, rows)
    warnings = [
        f"the class {name!r} of {target.name} cannot be read back from a table: {reason}"
        for target in sidecar.targets.values()
        for name in target.classes
        if (reason := _unreadable(target, name)) is not None
    ]
    if any(case.slices for case in cases.values()):
        warnings.append("the labels of slices are not in this table: export them by --slices")
    return warnings


def export_slices(sidecar: LabelSidecar, path: Path) -> None:
    """Write the labels of slices as CSV: a row for each slice of each case that has any, numbered from 0 on."""
    targets = [name for name in sidecar.targets if any(name in case.slices for case in sidecar.cases.values())]
    rows = []
    for case_id, case in sorted(sidecar.cases.items()):
        for index in range(max((len(labels) for labels in case.slices.values()), default=0)):
            labels = [case.slices.get(name, ())[index : index + 1] for name in targets]
            rows.append([case_id, index, *(_label_cell(label[0] if label else None) for label in labels)])
    write_csv(path, [CASE_COLUMN, SLICE_COLUMN, *targets], rows)


def _find_columns(
    table: Path,
    names: list[str],
    rows: list[Row],
    importing: ImportOptions,
    known: Mapping[str, Target],
    weighted: bool,
) -> Columns:
    """Return the columns; those called like a known target are read as that target."""
    options = importing.columns
    wanted = [name for name in names if name in known and (options.classes is None or name in options.classes)]
    lists = {name: () for name in wanted if known[name].type == "multilabel"}
    classes = options.classes
    declared = {*importing.declared.order, *importing.declared.binary}
    if classes is not None:
        classes = [name for name in classes if name not in lists]
    exported = [name for name in names if name.startswith(ATTRIBUTE_PREFIX)]
    options = replace(
        options,
        classes=classes,
        multilabel={**lists, **options.multilabel},
        attributes=(*options.attributes, *exported),
        split=options.split or (SPLIT_COLUMN if SPLIT_COLUMN in names else None),
    )
    columns = find_columns(table, names, rows, options, need_classes=False, known=declared.union(wanted))
    found = (columns.classes, columns.multilabel, columns.group, columns.split, columns.attributes, weighted)
    if not any(found):
        fault = f"expected a column of classes, groups, splits or attributes, found {', '.join(names)}"
        raise InputError("missing-column", table, "; ".join([fault, *columns.warnings]), "name it by --class-columns")
    return columns


def _images(dataset: Path, entries: Iterable[TableEntry]) -> Layout:
    """Return the training images, and the test images that the table names."""
    named = {entry.name.removesuffix(ending_of(entry.name)) for entry in entries}
    layout = find_layout(dataset)
    cases = {name: case for name, case in layout.cases.items() if name in named or not case.in_test_folder}
    return replace(layout, cases=cases)


def _declared(declared: DeclaredClasses, columns: Columns, known: Mapping[str, Target]) -> DeclaredClasses:
    """Return what the user declares, and for the known targets among the columns what the sidecar does."""
    order, binary = dict(declared.order), dict(declared.binary)
    for name in (*columns.classes, *columns.multilabel):
        if name in known and name not in order and name not in binary:
            classes = known[name].classes
            if known[name].type == "binary" and name in columns.classes:
                binary[name] = (classes[0], classes[1])
            elif known[name].type != "binary" or len(columns.multilabel.get(name, (name,))) == 1:
                order[name] = classes
    return DeclaredClasses(order, binary)


def _merge_targets(known: Mapping[str, Target], new: Mapping[str, Target]) -> tuple[dict[str, Target], list[str]]:
    """Return all targets, and the names of those whose type or classes are no longer what they were."""
    targets, changed = dict(known), []
    for name, target in new.items():
        old = known.get(name)
        one_of = ("binary", "multiclass")  # a table does not tell them apart where the classes are 0 and 1
        same_type = old is not None and (old.type == target.type or {old.type, target.type} == set(one_of))
        if old is not None and same_type and old.classes == target.classes:
            continue  # with its description and its rule
        targets[name] = target
        changed += [name] if old is not None else []
    return targets, changed


def _conflicts(
    table: Path, known: Mapping[str, Case], new: Mapping[str, Case], rows: Mapping[str, Row]
) -> list[InputError]:
    errors = []
    for case_id, case in new.items():
        old = known.get(case_id, Case())
        for what, before, now in (("group", old.group, case.group), ("split", old.split, case.split)):
            if before is not None and now is not None and before != now:
                fault = f"expected the {what} {before!r} that {SIDECAR_NAME} has for {case_id}, got {now!r}"
                place = f"{table}: {rows[case_id].place}"
                errors.append(InputError(f"other-{what}", place, fault, "correct one of them, or use --overwrite"))
    return errors


def _merge_case(
    old: Case, new: Case | None, targets: Mapping[str, Target], replaced: Iterable[str], changed: Iterable[str]
) -> Case:
    labels = {name: label for name, label in old.labels.items() if name not in replaced}
    slices = {name: label for name, label in old.slices.items() if name not in changed}
    if new is None:
        return replace(old, labels=labels, slices=slices)
    labels |= new.labels
    attributes = dict(old.attributes)
    for column, value in new.attributes.items():
        name = column.removeprefix(ATTRIBUTE_PREFIX)
        if name not in attributes or _attribute_cell(attributes[name]) != str(value):  # keep what was a text before
            attributes[name] = value
    return Case(
        {name: labels[name] for name in targets if name in labels},
        new.group or old.group,
        new.split or old.split,
        attributes,
        {**slices, **new.slices},
        old.weight,
    )


def _label_cell(label: Label | None) -> str | None:
    if label is None or isinstance(label, str):
        return label
    return LIST_SEPARATORS[0].join(label) or NO_CLASS


def _attribute_cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _unreadable(target: Target, name: str) -> str | None:
    if is_unknown(name):
        return "there it stands for an unknown label"
    if target.type == "multilabel" and (set(name) & set(LIST_SEPARATORS) or name.lower() == NO_CLASS):
        return f"there {LIST_SEPARATORS[0]} and {LIST_SEPARATORS[1]} part classes, and {NO_CLASS} means no class"
    return None
