"""Convert any data set of images and masks with a table of classes.

Images and masks are found in three layouts: images/CASE.nii.gz and labels/CASE.nii.gz (or CASE_0000.nii.gz, ... for
several channels); imagesTr, labelsTr, imagesTs and labelsTs of nnU-Net; or the files that the dataset.json of a task of
the Medical Decathlon (MSD) lists, whose 4-D images are split into channels.

The table is CSV, TSV, Excel (.xlsx) or JSON, or a class_labels.json. It names a case in each row, with columns of
classes and, where present, of splits ("test" becomes a test case) and groups (patients). Columns are found by their
names, or named by options. A column of more than two numbers, of lists (; or |) or of about one class a row is no
column of classes unless it is named. A class or group that is empty, NA, N/A, nan, null, ? or unknown, in upper or
lower case, is unknown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.case_writing import IGNORE
from nnunet_multitask.dataset_conversion.folder_classes import find_groups, read_folder_classes
from nnunet_multitask.dataset_conversion.folder_reading import FolderReader, mask_target
from nnunet_multitask.dataset_conversion.folder_settings import (
    DEFAULT_SETTINGS,
    FolderSettings,
    add_folder_arguments,
    folder_settings,
)
from nnunet_multitask.dataset_conversion.layouts import Layout, find_layout
from nnunet_multitask.dataset_conversion.matching import check_masks
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
from nnunet_multitask.dataset_conversion.table_classes import ClassTable
from nnunet_multitask.datasets import required_folder
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_mask
from nnunet_multitask.labels import Case, Target
from nnunet_multitask.splits import split_of


def convert(
    input_dir: str | Path,
    raw_dir: str | Path,
    *,
    dataset_id: int,
    dataset_name: str,
    settings: FolderSettings = DEFAULT_SETTINGS,
    options: ConversionOptions = DEFAULT_OPTIONS,
) -> Conversion:
    """Convert images, masks and a table of classes into an nnU-Net raw dataset.

    Args:
        input_dir: holds the images and masks in one of the layouts that ``find_layout`` knows.
        raw_dir: the folder of raw datasets, ``$nnUNet_raw``.
        dataset_id: 1 to 999.
        dataset_name: the dataset becomes ``DatasetNNN_NAME``.
        settings: what is not found by itself.
        options: shared by all converters.

    Returns:
        The folder of the dataset, and the report.

    Raises:
        InputError, InputErrors: every fault of the source, with file, fault and remedy; nothing is written.
    """
    folder = dataset_folder(raw_dir, dataset_id, dataset_name, options.overwrite)
    return write_dataset(read_source(input_dir, settings, options), folder, options)


def read_source(
    input_dir: str | Path, settings: FolderSettings = DEFAULT_SETTINGS, options: ConversionOptions = DEFAULT_OPTIONS
) -> Source:
    """Return what a folder holds: its cases with their classes, and the names of channels and labels.

    Rows, images and masks that do not belong together are errors of the source, so that ``write_dataset`` names them
    with the faults of the files.

    Args:
        input_dir, settings, options: as for ``convert``. Masks are read only where nothing names their labels.

    Raises:
        InputError, InputErrors: the layout or the table cannot be understood.
    """
    _check_label_names(settings.label_names)
    root = Path(input_dir)
    layout = find_layout(root, images=settings.images, labels=settings.labels, channel_names=settings.channel_names)
    errors, warnings = check_masks(
        layout, allow_missing=settings.allow_missing, allow_label_only=settings.allow_label_only
    )
    try:
        classes = read_folder_classes(root, layout, settings)
    except InputErrors as found:
        raise InputErrors([*found.errors, *errors]) from found
    labels = _labels(layout, settings.label_names, options)
    targets, reader = dict(classes.targets), FolderReader()
    if settings.classes_from_masks is not None:
        target = _new_target(settings.classes_from_masks, targets, labels)
        targets[target.name], reader = target, FolderReader(target, labels.get(IGNORE))
    cases, split_errors = _source_cases(layout, classes, find_groups(layout, classes, settings.group_pattern), reader)
    return Source(
        converter="folder",
        folder=root,
        cases=cases,
        targets=targets,
        labels=labels,
        channel_names=layout.channel_names,
        file_ending=layout.file_ending,
        errors=[*classes.errors, *errors, *split_errors],
        warnings=[*classes.warnings, *warnings, *_shared_groups(cases, root)],
        regions_class_order=() if settings.label_names else layout.regions_class_order,
        description=layout.description,
        reference=layout.reference,
        licence=layout.licence,
        options=settings.chosen(),
    )


def _source_cases(
    layout: Layout, classes: ClassTable, groups: Mapping[str, str], reader: FolderReader
) -> tuple[list[SourceCase], list[InputError]]:
    """Return the cases, and where table and folder differ on what is a test case."""
    cases: list[SourceCase] = []
    errors: list[InputError] = []
    for case_id, files in sorted(layout.cases.items()):
        case = classes.cases.get(case_id, Case())
        split = split_of(case.split)
        if files.in_test_folder and split in ("train", "val"):
            fault = f"expected a test case, since the image lies in {files.images[0].parent.name}, got {case.split!r}"
            errors.append(InputError("split-differs", files.images[0], fault, "correct the table or move the image"))
        case = replace(case, group=groups.get(case_id, case.group))
        if files.in_test_folder and case.split is None:
            case = replace(case, split="test")
        in_test = files.in_test_folder or split == "test"
        in_one_file = len(layout.channel_names) if files.channels_in_one_file else 0
        own_reader = replace(reader, channels_in_one_file=in_one_file)
        needed = None if own_reader == FolderReader() else own_reader
        cases.append(SourceCase(case_id, files.images, files.mask, case, in_test, needed))
    return cases, errors


def _shared_groups(cases: Sequence[SourceCase], root: Path) -> list[str]:
    """Name the groups (patients) with training and test cases."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for case in cases:
        if case.case.group is not None:
            groups.setdefault(case.case.group, ([], []))[case.is_test].append(case.case_id)
    warnings = []
    for group, (training, test) in groups.items():
        if training and test:
            fault = f"expected the group {group} in training or test, got {', '.join(training)} and {', '.join(test)}"
            remedy = "correct the splits; scores on such test cases are too good"
            warnings.append(str(InputError("group-in-two-splits", root.name, fault, remedy)))
    return warnings


def _check_label_names(label_names: Sequence[str] | None) -> None:
    names = ["background", *(label_names or ())]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fault = f"expected each name once, background being the value 0, got {', '.join(twice)} twice"
        raise InputError("duplicate-label", "--label-names", fault, "name each label otherwise")


def _new_target(name: str, targets: Mapping[str, Target], labels: Mapping[str, int | list[int]]) -> Target:
    if name in targets:
        fault = f"expected a new name, {name} is a target of the table"
        raise InputError("duplicate-target", "--classes-from-masks", fault, "name it otherwise")
    return mask_target(name, labels)


def _labels(
    layout: Layout, label_names: Sequence[str] | None, options: ConversionOptions
) -> Mapping[str, int | list[int]]:
    if label_names is None and layout.labels is not None:
        return layout.labels
    if label_names is None:
        masks = [case.mask for case in layout.cases.values() if case.mask is not None]
        found = map_in_order(
            _highest_value,
            masks,
            num_workers=options.num_workers,
            description="read mask values",
            progress=options.progress,
        )
        count = max((value for value in found if value is not None), default=1)
        label_names = [f"label_{value}" for value in range(1, max(count, 1) + 1)]
    return {name: value for value, name in enumerate(label_names, start=1)}


def _highest_value(mask: Path) -> int | None:
    """Return the highest value of a mask, None where it cannot be read: the writer says why, with all other faults."""
    try:
        return int(read_mask(mask).array.max())
    except InputError:
        return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    add_dataset_arguments(parser, None)
    add_folder_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    conversion = convert(
        args.input,
        required_folder("nnUNet_raw"),
        dataset_id=args.dataset_id,
        dataset_name=args.dataset_name,
        settings=folder_settings(args),
        options=options_from(args),
    )
    return summarize(conversion)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
