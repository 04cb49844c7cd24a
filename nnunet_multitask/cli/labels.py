"""Bring class labels from a table into a dataset, and back into a table.

  nnunet-multitask labels import classes.xlsx --dataset 4
  nnunet-multitask labels export labels.csv --dataset 4
  nnunet-multitask labels show --dataset 4

import writes class_labels.json in $nnUNet_raw/DATASET, or adds to it: targets that it has already are kept, and
replaced only with --overwrite. A table has a row for each case: CSV, TSV, Excel or JSON. What export writes can be
edited in any spreadsheet and imported again with --overwrite.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.dataset_conversion.folder_settings import add_column_arguments

if TYPE_CHECKING:
    from nnunet_multitask.labels import LabelSidecar

HELP = "bring class labels from a table into a dataset, and back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each of import, export and show."""
    subparsers = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, help_text: str, action: object) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(
            name, help=help_text, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        # absent by default, so that --debug before the action is not undone
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        subparser.add_argument("--dataset", required=True, metavar="DATASET", help="id or name, in $nnUNet_raw")
        subparser.add_argument("--json", action="store_true", help="print the result as JSON")
        subparser.set_defaults(action=action)
        return subparser

    importing = add("import", "read a table into class_labels.json", _import)
    importing.add_argument("table", type=Path, metavar="TABLE", help=".csv, .tsv, .xlsx or .json, a row for each case")
    importing.add_argument("--sheet", metavar="NAME", help="sheet of a workbook (default: the only one with content)")
    importing.add_argument("--slice-column", metavar="NAME", help="a row for each axial slice: column of its number")
    importing.add_argument("--first-slice", type=int, metavar="N", help="number of the first slice (default 0)")
    importing.add_argument(
        "--allow-missing",
        action="store_true",
        help="take training images without row (class unknown), pass over rows without image",
    )
    importing.add_argument(
        "--overwrite", action="store_true", help="replace targets that are there, and groups and splits that differ"
    )
    importing.add_argument("--dry-run", action="store_true", help="check everything and write nothing")
    add_column_arguments(importing.add_argument_group("columns"))
    exporting = add("export", "write class_labels.json as a CSV table", _export)
    exporting.add_argument("table", type=Path, metavar="TABLE", help="the .csv file to write")
    exporting.add_argument("--slices", action="store_true", help="write the labels of slices, a row for each slice")
    exporting.add_argument("--overwrite", action="store_true", help="replace the file")
    add("show", "count cases, classes and patients", _show)


def run(args: argparse.Namespace) -> int:
    """Do what the action says and return 0."""
    return int(args.action(args))


def _import(args: argparse.Namespace) -> int:
    import json
    import sys

    from nnunet_multitask.dataset_conversion.columns import ColumnOptions
    from nnunet_multitask.dataset_conversion.label_tables import ImportOptions, import_table
    from nnunet_multitask.dataset_conversion.table_classes import DeclaredClasses
    from nnunet_multitask.errors import InputError
    from nnunet_multitask.labels import SIDECAR_NAME, write_sidecar

    folder = _dataset(args)
    if args.first_slice is not None and args.slice_column is None:
        raise InputError("contradiction", "--first-slice", "expected --slice-column beside it, got none", "add it")
    options = ImportOptions(
        ColumnOptions(
            args.case_column,
            args.class_columns,
            dict(args.multilabel),
            args.split_column,
            args.group_column,
            args.attribute_columns,
        ),
        DeclaredClasses(dict(args.class_order), dict(args.binary)),
        args.sheet,
        args.slice_column,
        args.first_slice or 0,
        args.allow_missing,
        args.overwrite,
    )
    imported = import_table(folder, args.table, options)
    if not args.dry_run:
        write_sidecar(imported.sidecar, folder / SIDECAR_NAME)
    summary = {
        "path": str(folder / SIDECAR_NAME),
        "written": not args.dry_run,
        "added": imported.added,
        "replaced": imported.replaced,
        "warnings": imported.warnings,
        **_counts(folder, imported.sidecar),
    }
    if args.json:
        print(json.dumps(summary))
        return 0
    for warning in imported.warnings:
        print(f"WARN {warning}", file=sys.stderr)
    for line in _lines(summary):
        print(line)
    print(f"added: {', '.join(imported.added) or 'no target'}; replaced: {', '.join(imported.replaced) or 'none'}")
    print(f"not written: {summary['path']}" if args.dry_run else summary["path"])
    return 0


def _export(args: argparse.Namespace) -> int:
    import json
    import sys

    from nnunet_multitask.dataset_conversion.label_tables import export_slices, export_table
    from nnunet_multitask.errors import InputError
    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar
    from nnunet_multitask.wording import counted

    sidecar = read_sidecar(_dataset(args) / SIDECAR_NAME)
    if args.table.suffix.lower() != ".csv":
        raise InputError("unknown-ending", args.table, "expected a .csv file, got another ending", "write CSV")
    if not args.table.parent.is_dir():
        raise InputError(
            "missing-folder", args.table.parent, "expected a folder, found none", "make it or correct TABLE"
        )
    if args.table.exists() and not args.overwrite:
        raise InputError("already-exists", args.table, "expected no such file, found one", "use --overwrite")
    warnings: list[str] = []
    if args.slices:
        export_slices(sidecar, args.table)
    else:
        warnings = export_table(sidecar, args.table)
    if args.json:
        print(json.dumps({"path": str(args.table), "cases": len(sidecar.cases), "warnings": warnings}))
        return 0
    for warning in warnings:
        print(f"WARN {warning}", file=sys.stderr)
    print(f"{counted(len(sidecar.cases), 'case')}: {args.table}")
    return 0


def _show(args: argparse.Namespace) -> int:
    import json

    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar

    folder = _dataset(args)
    sidecar = read_sidecar(folder / SIDECAR_NAME)
    counts = _counts(folder, sidecar)
    print(json.dumps(counts) if args.json else "\n".join(_lines(counts)))
    return 0


def _dataset(args: argparse.Namespace) -> Path:
    from nnunet_multitask.datasets import find_dataset, required_folder

    return find_dataset(required_folder("nnUNet_raw"), args.dataset)


def _counts(folder: Path, sidecar: LabelSidecar) -> dict[str, Any]:
    """Return how many cases and patients there are, and how many of each split and class."""
    from collections import Counter

    from nnunet_multitask.dataset_conversion.verification_counts import count_labels
    from nnunet_multitask.splits import group_cases

    classes = count_labels(sidecar, list(sidecar.cases))
    return {
        "dataset": folder.name,
        "cases": len(sidecar.cases),
        "patients": len(group_cases(sidecar, sidecar.cases)),
        "splits": dict(sorted(Counter(case.split for case in sidecar.cases.values() if case.split).items())),
        "targets": {name: {"type": target.type, "classes": classes[name]} for name, target in sidecar.targets.items()},
    }


def _lines(counts: Mapping[str, Any]) -> list[str]:
    from nnunet_multitask.wording import counted

    splits = "".join(f", {number} {name}" for name, number in counts["splits"].items())
    return [
        f"{counts['dataset']}: {counted(counts['cases'], 'case')} of {counted(counts['patients'], 'patient')}{splits}",
        *(
            f"{name} ({target['type']}): "
            + ", ".join(f"{number} {label}" for label, number in target["classes"].items() if number)
            for name, target in counts["targets"].items()
        ),
    ]
