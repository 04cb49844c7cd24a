"""What a user says of a folder of images, masks and a class table, in Python and on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.script import comma_list


@dataclass(frozen=True)
class FolderSettings:
    """What is not found by itself.

    Args:
        images, labels: the folders of images and masks where they are not called ``images`` and ``labels``.
        table: the table of classes, or a sidecar; by default the only ``.csv``, ``.tsv``, ``.xlsx`` or
            ``class_labels.json``.
        case_column, split_column, group_column: names of columns; found by name by default.
        class_columns: columns that hold one class a cell; by default the rest with 2 to 20 values, without columns
            of more than two numbers, of lists and of about one class a row.
        multilabel: target to its columns of 0 and 1; without columns the cells of the column of that name list classes,
            separated by ``;`` or ``|``, or say ``none``.
        class_order: target to all its classes in order; by default those that occur, sorted.
        binary: target to its negative and its positive class.
        classes_from_masks: name of a target whose classes are the labels that occur in the mask.
        group_pattern: regular expression whose only part in brackets is the group (patient) in a case id.
        attribute_columns: columns that become attributes of the cases in the sidecar.
        label_names: names of the mask values 1, 2, ..., each once; by default those of dataset.json, else
            ``label_1`` ...
        channel_names: one for each channel; nnU-Net normalises ``CT`` by Hounsfield units and others by z-score. By
            default those of dataset.json, else ``CT``.
        allow_missing: take images that the table does not name, with unknown class, and pass over rows and masks
            without image.
        allow_label_only: take cases without mask, of which only the classes are learned.
    """

    images: str | None = None
    labels: str | None = None
    table: str | Path | None = None
    case_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    class_columns: Sequence[str] | None = None
    multilabel: Mapping[str, Sequence[str]] = field(default_factory=dict)
    class_order: Mapping[str, Sequence[str]] = field(default_factory=dict)
    binary: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    classes_from_masks: str | None = None
    group_pattern: str | None = None
    attribute_columns: Sequence[str] = ()
    label_names: Sequence[str] | None = None
    channel_names: Sequence[str] | None = None
    allow_missing: bool = False
    allow_label_only: bool = False

    def chosen(self) -> dict[str, Any]:
        """Return the settings that are no default, for the report, without folders of the user."""
        found = {key: value for key, value in asdict(self).items() if value != getattr(DEFAULT_SETTINGS, key)}
        return found | ({"table": Path(self.table).name} if self.table is not None else {})


DEFAULT_SETTINGS = FolderSettings()


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare an option for each setting."""
    files = parser.add_argument_group("files")
    files.add_argument(
        "--images", type=_folder_name, metavar="DIR", help="folder of images inside of --input (default images)"
    )
    files.add_argument(
        "--labels", type=_folder_name, metavar="DIR", help="folder of masks inside of --input (default labels)"
    )
    files.add_argument(
        "--channel-name",
        type=comma_list,
        dest="channel_names",
        metavar="A,B",
        help="a name for each channel, by which nnU-Net normalises (default: those of dataset.json, else CT; say MR "
        "for magnetic resonance)",
    )
    files.add_argument(
        "--label-names",
        type=comma_list,
        metavar="A,B",
        help="names of the mask values 1, 2, ... (default: those of dataset.json, else label_1, ...)",
    )
    files.add_argument("--allow-label-only", action="store_true", help="take cases without mask: classes only")
    files.add_argument(
        "--allow-missing",
        action="store_true",
        help="take images without row (class unknown), pass over rows and masks without image",
    )
    table = parser.add_argument_group("table of classes")
    table.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="CSV, TSV, Excel, JSON or class_labels.json (default: the only .csv, .tsv, .xlsx or class_labels.json "
        "there)",
    )
    add_column_arguments(table)
    table.add_argument(
        "--classes-from-masks",
        metavar="NAME",
        help="a target NAME whose classes are the labels that occur in the mask; no table is needed then",
    )
    table.add_argument(
        "--group-pattern",
        metavar="REGEX",
        help="the patient in the case id, as the only part in brackets, for example '(P[0-9]+)_'",
    )


def add_column_arguments(table: argparse._ActionsContainer) -> None:
    """Declare the options that say what the columns of a table mean."""
    table.add_argument("--case-column", metavar="NAME", help="column of case ids (default: found by its name)")
    table.add_argument(
        "--class-columns",
        type=comma_list,
        metavar="A,B",
        help="columns of one class a cell (default: the rest with 2 to 20 values, not more than 2 numbers, no "
        "lists, not about one a row); empty, NA, N/A, nan, null, ? and "
        "unknown, in upper or lower case, are unknown classes",
    )
    table.add_argument(
        "--multilabel",
        type=_named_list,
        action="append",
        default=[],
        metavar="NAME[=A,B]",
        help="a target of several classes at a time: from columns of 0 and 1, or from the cells of the column NAME, "
        "separated by ; or | (none for no class); may be given several times",
    )
    table.add_argument(
        "--class-order",
        type=_named_list,
        action="append",
        default=[],
        metavar="NAME=A,B,C",
        help="all classes of a target in the order of the outputs (default: sorted); may be given several times",
    )
    table.add_argument(
        "--binary",
        type=_named_pair,
        action="append",
        default=[],
        metavar="NAME=NEGATIVE,POSITIVE",
        help="make a target binary (done by itself for 0 and 1, no and yes, ...); may be given several times",
    )
    table.add_argument(
        "--split-column",
        metavar="NAME",
        help="column of splits: train/training/tr, val/validation, test/testing/ts or empty; test becomes a test case",
    )
    table.add_argument("--group-column", metavar="NAME", help="column of patients")
    table.add_argument(
        "--attribute-columns",
        type=comma_list,
        default=(),
        metavar="A,B",
        help="columns that become attributes of the cases, such as age and sex",
    )


def folder_settings(args: argparse.Namespace) -> FolderSettings:
    """Return what the options of ``add_folder_arguments`` say."""
    return FolderSettings(
        images=args.images,
        labels=args.labels,
        table=args.table,
        case_column=args.case_column,
        split_column=args.split_column,
        group_column=args.group_column,
        class_columns=args.class_columns,
        multilabel=dict(args.multilabel),
        class_order=dict(args.class_order),
        binary=dict(args.binary),
        classes_from_masks=args.classes_from_masks,
        group_pattern=args.group_pattern,
        attribute_columns=args.attribute_columns,
        label_names=args.label_names,
        channel_names=args.channel_names,
        allow_missing=args.allow_missing,
        allow_label_only=args.allow_label_only,
    )


def _folder_name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the name of a folder, got an empty text")
    return text


def _named_list(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, values = text.partition("=")
    if not name.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=A,B, got {text!r}")
    return name.strip(), comma_list(values)


def _named_pair(text: str) -> tuple[str, tuple[str, str]]:
    name, values = _named_list(text)
    if len(values) != 2:
        raise argparse.ArgumentTypeError(f"expected NAME=NEGATIVE,POSITIVE, got {text!r}")
    return name, (values[0], values[1])
