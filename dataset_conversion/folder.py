"""Convert any data set of images/CASE.nii.gz, labels/CASE.nii.gz and a table of classes.

The table names a case in each row, with one or more columns of classes and, where present, a column of splits ("test"
becomes a test case) and one of groups (patients). Columns are found by their names, or named by options. A class or
group that is empty, NA, N/A, nan, null, ? or unknown, in upper or lower case, is unknown.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.columns import Columns, find_columns, is_test, known_value, make_targets
from nnunet_multitask.dataset_conversion.raw_writer import (
    DEFAULT_OPTIONS,
    Conversion,
    ConversionOptions,
    Source,
    SourceCase,
    dataset_folder,
    write_dataset,
)
from nnunet_multitask.dataset_conversion.script import add_dataset_arguments, options_from, run_script, summarize
from nnunet_multitask.dataset_conversion.tables import Row, read_table
from nnunet_multitask.datasets import list_cases, required_folder
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_mask
from nnunet_multitask.labels import Case

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")

_CHANNEL_HINT = "_0000 at the end of an image name is read as the number of a channel, CASE_0000 being the case CASE"


def convert(
    input_dir: str | Path,
    raw_dir: str | Path,
    *,
    dataset_id: int,
    dataset_name: str,
    table: str | Path | None = None,
    case_column: str | None = None,
    class_columns: Sequence[str] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    label_names: Sequence[str] | None = None,
    channel_names: Sequence[str] = ("CT",),
    allow_missing: bool = False,
    options: ConversionOptions = DEFAULT_OPTIONS,
) -> Conversion:
    """Convert a folder with ``images``, ``labels`` and a table of classes into an nnU-Net raw dataset.

    Args:
        input_dir: holds ``images`` (``CASE.nii.gz``, or ``CASE_0000.nii.gz`` ... for several channels) and ``labels``.
        raw_dir: the folder of raw datasets, ``$nnUNet_raw``.
        dataset_id: 1 to 999.
        dataset_name: the dataset becomes ``DatasetNNN_NAME``.
        table: the table of classes; by default the only ``.csv`` or ``.tsv`` file of ``input_dir``.
        case_column, class_columns, split_column, group_column: names of columns; found by name by default. A column of
            classes with the values 0 and 1 only becomes a binary target, any other a multiclass one with its values in
            sorted order; an empty value, and NA, N/A, nan, null, ? and unknown in any case, are unknown.
        label_names: names of the mask values 1, 2, ..., each once; ``label_1`` ... by default.
        channel_names: one for each channel; nnU-Net normalises ``CT`` by Hounsfield units and others by z-score.
        allow_missing: take images that the table does not name, with unknown class, and pass over rows without image.
        options: shared by all converters.

    Returns:
        The folder of the dataset, and the report.

    Raises:
        InputError, InputErrors: every fault of the source, with file, fault and remedy; nothing is written.
    """
    folder = dataset_folder(raw_dir, dataset_id, dataset_name, options.overwrite)
    _check_label_names(label_names)
    root = Path(input_dir)
    table_path = _find_table(root) if table is None else Path(table)
    names, rows = read_table(table_path)
    columns = find_columns(
        table_path,
        names,
        rows,
        case_column=case_column,
        class_columns=class_columns,
        split_column=split_column,
        group_column=group_column,
    )
    ending = _find_ending(root / "images")
    images = _group_channels(list_cases(root / "images", ending), len(channel_names), ending)
    masks = list_cases(root / "labels", ending)
    by_case, warnings = _match_rows(table_path, rows, columns, images, ending=ending, allow_missing=allow_missing)
    cases, errors = [], []
    for case_id in sorted(images):
        if case_id in masks:
            row = by_case.get(case_id)
            in_test = row is not None and is_test(row, columns.split)
            cases.append(SourceCase(case_id, images[case_id], masks[case_id], _case(row, columns), in_test))
        else:
            place = root / "labels" / f"{case_id}{ending}"
            errors.append(
                InputError("missing-mask", place, "expected a mask, found none", _mask_remedy(case_id, masks, ending))
            )
    if errors:
        raise InputErrors(errors)
    source = Source(
        converter="folder",
        folder=root,
        cases=cases,
        targets=make_targets(columns, by_case.values()),
        labels=_labels(cases, label_names),
        channel_names=tuple(channel_names),
        file_ending=ending,
        warnings=[*columns.warnings, *warnings],
    )
    return write_dataset(source, folder, options)


def _find_table(root: Path) -> Path:
    tables = sorted([*root.glob("*.csv"), *root.glob("*.tsv")])
    if len(tables) != 1:
        fault = f"expected one .csv or .tsv file, found {', '.join(path.name for path in tables) or 'none'}"
        raise InputError("missing-file", root, fault, "name the table of classes by --table")
    return tables[0]


def _find_ending(images: Path) -> str:
    for ending in ENDINGS:
        if list_cases(images, ending):
            return ending
    raise InputError("missing-images", images, f"expected images ({', '.join(ENDINGS)}), found none", "check --input")


def _group_channels(files: dict[str, Path], num_channels: int, ending: str) -> dict[str, tuple[Path, ...]]:
    """Return the channels of each case; a single channel may do without its number."""
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in files.items():
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        # hippocampus_0004 is a case, not a channel: a number counts where its case has a channel 0
        numbered = match is not None and f"{match[1]}_0000" in files
        name, index = (match[1], int(match[2])) if match is not None and numbered else (stem, 0)
        cases.setdefault(name, {})[index] = path
    errors = [
        InputError(
            "missing-channel",
            next(iter(channels.values())),
            f"expected the channels 0 to {num_channels - 1} of {name}, got {sorted(channels)}",
            f"name them {name}_0000{ending}, ..., and give a --channel-name for each; {_CHANNEL_HINT}",
        )
        for name, channels in cases.items()
        if sorted(channels) != list(range(num_channels))
    ]
    if errors:
        raise InputErrors(errors)
    return {name: tuple(channels[index] for index in range(num_channels)) for name, channels in cases.items()}


def _match_rows(
    path: Path,
    rows: Sequence[Row],
    columns: Columns,
    images: dict[str, tuple[Path, ...]],
    *,
    ending: str,
    allow_missing: bool,
) -> tuple[dict[str, Row], list[str]]:
    by_case: dict[str, Row] = {}
    errors, warnings = [], []
    remedy = "correct the table or the files, or use --allow-missing"
    for row in rows:
        case_id = row.values[columns.case].removesuffix(ending)
        place = f"{path}: line {row.number}"
        if case_id in by_case:
            fault = f"expected each case once, {case_id} is also in line {by_case[case_id].number}"
            errors.append(InputError("duplicate-case", place, fault, "remove one of the rows"))
        elif case_id in images:
            by_case[case_id] = row
        elif allow_missing:
            warnings.append(f"line {row.number} of the table: there is no image of {case_id[:80]!r}; it is passed over")
        else:
            fault = f"expected an image of {case_id[:80]!r}, found none"
            hint = f"; {_CHANNEL_HINT}" if re.fullmatch(r".+_\d{4}", case_id) else ""
            errors.append(InputError("missing-image", place, fault, remedy + hint))
    for case_id in sorted(set(images) - set(by_case)):
        if allow_missing:
            warnings.append(f"{case_id}: the table does not name it; its class is unknown")
        else:
            fault = f"expected a row of {path.name} for the case {case_id}, found none"
            is_cut = images[case_id][0].name != f"{case_id}{ending}"
            hint = f"; {_CHANNEL_HINT}" if is_cut else ""
            errors.append(InputError("missing-row", images[case_id][0], fault, remedy + hint))
    if errors:
        raise InputErrors(errors)
    return by_case, warnings


def _case(row: Row | None, columns: Columns) -> Case:
    if row is None:
        return Case(labels={})
    labels = {name: value for name in columns.classes if (value := known_value(row, name)) is not None}
    split = row.values.get(columns.split or "") or None
    return Case(labels, group=known_value(row, columns.group), split=split)


def _mask_remedy(case_id: str, masks: dict[str, Path], ending: str) -> str:
    numbered = masks.get(f"{case_id}_0000")
    return "add it" if numbered is None else f"rename {numbered.name} to {case_id}{ending}: a mask has no channels"


def _check_label_names(label_names: Sequence[str] | None) -> None:
    names = ["background", *(label_names or ())]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fault = f"expected each name once, background being the value 0, got {', '.join(twice)} twice"
        raise InputError("duplicate-label", "--label-names", fault, "name each label otherwise")


def _labels(cases: Sequence[SourceCase], label_names: Sequence[str] | None) -> dict[str, int]:
    if label_names is None:
        errors, highest = [], 1
        for mask in (case.mask for case in cases if case.mask is not None):
            try:
                highest = max(highest, int(read_mask(mask).array.max()))
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)
        label_names = [f"label_{value}" for value in range(1, highest + 1)]
    return {name: value for value, name in enumerate(label_names, start=1)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    add_dataset_arguments(parser, None)
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="table of classes (default: the only .csv of --input)"
    )
    parser.add_argument("--case-column", metavar="NAME", help="column of case ids (default: found by its name)")
    parser.add_argument(
        "--class-columns",
        type=_comma,
        metavar="A,B",
        help="columns of classes (default: the rest with 2 to 20 values); empty, NA, N/A, nan, null, ? and unknown, in "
        "upper or lower case, are unknown classes",
    )
    parser.add_argument(
        "--split-column",
        metavar="NAME",
        help="column of splits: train/training/tr, val/validation, test/testing/ts or empty; test becomes a test case",
    )
    parser.add_argument("--group-column", metavar="NAME", help="column of patients")
    parser.add_argument(
        "--label-names", type=_comma, metavar="A,B", help="names of the mask values 1, 2, ... (default label_1, ...)"
    )
    parser.add_argument(
        "--channel-name",
        type=_comma,
        default=["CT"],
        metavar="A,B",
        help="a name for each channel, by which nnU-Net normalises (default CT; say MR for magnetic resonance)",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="take images without row (class unknown), pass over rows without image",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    conversion = convert(
        args.input,
        required_folder("nnUNet_raw"),
        dataset_id=args.dataset_id,
        dataset_name=args.dataset_name,
        table=args.table,
        case_column=args.case_column,
        class_columns=args.class_columns,
        split_column=args.split_column,
        group_column=args.group_column,
        label_names=args.label_names,
        channel_names=args.channel_name,
        allow_missing=args.allow_missing,
        options=options_from(args),
    )
    return summarize(conversion)


def _comma(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
