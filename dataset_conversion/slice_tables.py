"""Tables with a row for each axial slice: labels of slices, and what they say of the case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_multitask.dataset_conversion.columns import Columns
from nnunet_multitask.dataset_conversion.table_classes import ClassTable, DeclaredClasses, read_classes
from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Label, Target


def split_off_slices(
    table: Path, names: Sequence[str], rows: Sequence[Row], column: str, first: int
) -> tuple[list[str], list[Row], dict[int, int]]:
    """Take the column of slice numbers out of a table, so that nobody takes it for a column of classes.

    Args:
        table: for messages.
        names, rows: the table.
        column: holds the numbers of slices, in array order of the image.
        first: number of the first slice, 0 or 1 as a rule.

    Returns:
        The other columns, the rows without it, and the index of the slice, from 0 on, by the number of the row.

    Raises:
        InputError: there is no such column.
        InputErrors: every value that is no number from ``first`` on.
    """
    if column not in names:
        fault = f"expected the column {column}, found {', '.join(names)}"
        raise InputError("missing-column", table, fault, "correct --slice-column or the header")
    index_of, errors = {}, []
    for row in rows:
        text = row.values[column]
        if text.isdecimal() and int(text) >= first:
            index_of[row.number] = int(text) - first
        else:
            fault = f"expected a number from {first} on in the column of slices {column}, got {text[:80]!r}"
            remedy = "correct it, or name the number of the first slice by --first-slice"
            errors.append(InputError("bad-row", f"{table}: {row.place}", fault, remedy))
    if errors:
        raise InputErrors(errors)
    others = [name for name in names if name != column]
    cut = [Row(row.number, {name: row.values[name] for name in others}, row.unit, row.lists) for row in rows]
    return others, cut, index_of


def read_slice_classes(
    table: Path,
    columns: Columns,
    rows: Mapping[str, Sequence[Row]],
    index_of: Mapping[int, int],
    declared: DeclaredClasses,
) -> ClassTable:
    """Return targets, and cases with labels of slices.

    Slices without row are unknown. A case gets the label that its slices tell for sure: every class of any slice
    (multilabel), the positive class where any slice has it (binary), the class that all slices share (multiclass); it
    is unknown where unknown slices could tell otherwise.

    Args:
        table: for messages.
        columns: what its columns mean.
        rows: of each case.
        index_of: index of the slice by the number of the row.
        declared: what the user says of the classes.

    Raises:
        InputErrors: a slice twice, rows of a case with another patient or split, values that are no class.
    """
    errors: list[InputError] = []
    by_slice: dict[tuple[str, int], Row] = {}
    for case_id, members in rows.items():
        for row in members:
            key = (case_id, index_of[row.number])
            place = f"{table}: {row.place}"
            if key in by_slice:
                fault = f"expected each slice once, that of {case_id} is also in {by_slice[key].place}"
                errors.append(InputError("duplicate-slice", place, fault, "remove one of the rows"))
            by_slice[key] = row
            for what, column in (("group", columns.group), ("split", columns.split)):
                before, now = (one.values[column] if column else "" for one in (members[0], row))
                if before != now:
                    fault = f"expected the {what} {before!r} of {members[0].place} for {case_id}, got {now!r}"
                    errors.append(InputError(f"other-{what}", place, fault, "correct one of them"))
    if errors:
        raise InputErrors(errors)
    name_of = {key: f"{key[0]} slice {key[1]}" for key in by_slice}
    found = read_classes(table, columns, {name_of[key]: row for key, row in by_slice.items()}, declared)
    cases = {}
    for case_id, members in rows.items():
        depth = 1 + max(index_of[row.number] for row in members)
        keys = [name_of.get((case_id, index), "") for index in range(depth)]
        slices = {
            name: tuple(found.cases[key].labels.get(name) if key else None for key in keys) for name in found.targets
        }
        labels = {name: case_label(target, slices[name]) for name, target in found.targets.items()}
        head = found.cases[name_of[case_id, index_of[members[0].number]]]
        cases[case_id] = Case(
            {name: label for name, label in labels.items() if label is not None},
            head.group,
            head.split,
            head.attributes,
            {name: found for name, found in slices.items() if any(label is not None for label in found)},
        )
    return ClassTable(found.targets, cases, found.warnings)


def case_label(target: Target, slices: Sequence[Label | None]) -> Label | None:
    """Return the label of a case that its slices tell, or None where they tell none for sure.

    Args:
        target: what is asked.
        slices: a label for each axial slice, None where it is unknown.
    """
    known = [label for label in slices if label is not None]
    is_complete = len(known) == len(slices) > 0
    if target.type == "binary":
        positive = target.classes[1]
        return positive if positive in known else target.classes[0] if is_complete else None
    if not is_complete:
        return None
    if target.type == "multilabel":
        return tuple(name for name in target.classes if any(name in label for label in known))
    return known[0] if len(set(known)) == 1 else None
