"""The one writer of nnU-Net raw datasets: checks every case, copies the files, and says what it did."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.case_writing import (
    IGNORE,
    CaseOutcome,
    convert_case,
    ignore_value,
    label_values,
)
from nnunet_multitask.dataset_conversion.channels import MADE_CHANNELS, check_options
from nnunet_multitask.dataset_conversion.conversion_report import REPORT_NAME, conversion_report
from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.dataset_conversion.sources import (
    CaseReader,
    Conversion,
    ConversionOptions,
    Exclusion,
    LoadedCase,
    Source,
    SourceCase,
)
from nnunet_multitask.documents import write_json
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import SIDECAR_NAME, LabelSidecar, case_id_fault, parse_sidecar, write_sidecar
from nnunet_multitask.storage import atomic_directory, writing_errors

__all__ = [
    "DEFAULT_OPTIONS",
    "CaseReader",
    "Conversion",
    "ConversionOptions",
    "Exclusion",
    "LoadedCase",
    "Source",
    "SourceCase",
    "dataset_folder",
    "write_dataset",
]

DEFAULT_OPTIONS = ConversionOptions()


def dataset_folder(raw_dir: str | Path, dataset_id: int, dataset_name: str, overwrite: bool = False) -> Path:
    """Return the folder of a new dataset, if it may be written.

    Raises:
        InputError: impossible id or name, no such ``raw_dir``, another dataset has the id, or the folder exists and may
            not be replaced: with ``overwrite`` an empty one and one that a converter wrote may.
    """
    raw_dir = Path(raw_dir)
    if not 1 <= dataset_id <= 999 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", dataset_name):
        raise InputError(
            "bad-dataset-name",
            f"Dataset{dataset_id}_{dataset_name}",
            "expected an id from 1 to 999 and a name of letters, digits, _ and -",
            "choose others",
        )
    if not raw_dir.is_dir():
        raise InputError("missing-folder", raw_dir, "expected the folder of raw datasets, found none", "make it")
    folder = raw_dir / f"Dataset{dataset_id:03d}_{dataset_name}"
    others = sorted(path.name for path in raw_dir.glob(f"Dataset{dataset_id:03d}_*") if path != folder)
    if others:
        fault = f"expected the id {dataset_id} to be free, it is taken by {', '.join(others)}"
        raise InputError("duplicate-dataset-id", raw_dir, fault, "use another --dataset-id")
    expected = f"a dataset written by a converter ({REPORT_NAME})"
    check_replaceable(folder, overwrite, expected, lambda path: (path / REPORT_NAME).is_file())
    return folder


def write_dataset(source: Source, folder: Path, options: ConversionOptions = DEFAULT_OPTIONS) -> Conversion:
    """Check every case and write the dataset, whole or not at all; several cases at a time.

    A file that is right is copied as it is; a volume that was repaired or made anew is written. A training case without
    mask gets nnU-Net's ignore label everywhere, which joins the labels where it is not declared.

    Args:
        source: what to write.
        folder: from ``dataset_folder``.
        options: of the conversion.

    Returns:
        The folder, with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, class_labels.json and
        conversion_report.json, and the report; after a dry run only the report.

    Raises:
        InputErrors: the errors of the source, and every fault of every case that is no reason to leave just the case
            out.
        InputError: channels that cannot be made of the source, no training case or no mask is left, or the output
            cannot be written.
    """
    check_options(options.channels, source.channel_names, source.intensities_are_hu)
    errors = [*source.errors, *_id_errors(source.cases), *_label_errors(source)]
    with nullcontext() if options.dry_run or errors else _new_folder(folder, options.overwrite) as output:
        outcomes = _convert_cases(source, output, options)
        for _, outcome in outcomes:
            if not {error.code for error in outcome.faults} <= set(source.exclude_faults):
                errors.extend(outcome.faults)
        if errors:
            raise InputErrors(errors)
        sidecar = _sidecar(source, outcomes)
        report = conversion_report(source, folder.name, outcomes, options)
        if output is not None:
            with_ignore = any(outcome.label_only for _, outcome in outcomes)
            write_sidecar(sidecar, output / SIDECAR_NAME)
            write_json(output / "dataset.json", _dataset_json(source, options, report["counts"], with_ignore, folder))
            write_json(output / REPORT_NAME, report)
    return Conversion(folder, report, written=not options.dry_run)


@contextmanager
def _new_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    with atomic_directory(folder, overwrite) as temporary:
        for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
            with writing_errors(temporary / name):
                (temporary / name).mkdir()
        yield temporary


def _convert_cases(
    source: Source, output: Path | None, options: ConversionOptions
) -> list[tuple[SourceCase, CaseOutcome]]:
    """Convert the cases, or only check them where there is no output, and return what became of each."""
    header = replace(source, cases=(), excluded=(), errors=(), warnings=())  # what the workers need
    outcomes = map_in_order(
        partial(convert_case, source=header, output=output, options=options),
        source.cases,
        num_workers=options.num_workers,
        description=f"{'check' if output is None else 'convert'} {source.converter}",
        progress=options.progress,
    )
    return list(zip(source.cases, outcomes, strict=True))


def _sidecar(source: Source, outcomes: Sequence[tuple[SourceCase, CaseOutcome]]) -> LabelSidecar:
    """Return the sidecar of the cases that are taken, if nnU-Net could train on them."""
    taken = [(case, outcome) for case, outcome in outcomes if not outcome.faults]
    training = [outcome for case, outcome in taken if not case.is_test]
    if not training:
        fault = "expected training cases, found none"
        raise InputError("no-training-case", source.folder, fault, "check the splits")
    if all(outcome.label_only for outcome in training):
        fault = f"expected a mask for some of the {len(training)} training cases, found none"
        raise InputError("no-mask", source.folder, fault, "add masks: segmentation is trained on them")
    sidecar = LabelSidecar(source.targets, {case.case_id: outcome.case for case, outcome in taken})
    parse_sidecar(sidecar.to_json(), SIDECAR_NAME)
    return sidecar


def _id_errors(cases: Sequence[SourceCase]) -> list[InputError]:
    errors = []
    seen: dict[str, SourceCase] = {}
    for case in cases:
        fault = case_id_fault(case.case_id)
        if fault is not None:
            errors.append(InputError("unsafe-case-id", _place(case), fault, "rename the file"))
        if case.case_id in seen:
            fault = f"expected each case once, {case.case_id} is also {_place(seen[case.case_id])}"
            errors.append(InputError("duplicate-case", _place(case), fault, "remove one"))
        seen[case.case_id] = case
    return errors


def _place(case: SourceCase) -> str:
    return str(case.mask or next(iter(case.images), f"case {case.case_id[:80]}"))


def _label_errors(source: Source) -> list[InputError]:
    """Return what nnU-Net would say against the labels, before any case is read."""
    foreground = sorted(label_values({name: value for name, value in source.labels.items() if name != IGNORE}))
    wanted = list(range(1, len(foreground) + 1))
    if foreground and foreground == wanted and source.labels.get(IGNORE, len(wanted) + 1) == len(wanted) + 1:
        return []
    fault = f"expected the values 1, 2, ... without a gap, ignore being the highest, got {dict(source.labels)}"
    return [InputError("bad-labels", source.folder, fault, "number the labels of the masks anew")]


def _dataset_json(
    source: Source, options: ConversionOptions, counts: Mapping[str, int], with_ignore: bool, folder: Path
) -> dict[str, Any]:
    labels = {key: value for key, value in source.labels.items() if key != IGNORE}
    if with_ignore or IGNORE in source.labels:
        labels[IGNORE] = ignore_value(source.labels)  # nnU-Net wants it last
    channels = source.written_channels(options.channels)
    texts = {"description": source.description, "reference": source.reference, "licence": source.licence}
    document: dict[str, Any] = {
        "name": folder.name,
        **{key: text for key, text in texts.items() if text},
        "channel_names": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {"background": 0, **labels},
        "numTraining": counts["training"],
        "file_ending": source.file_ending,
        "overwrite_image_reader_writer": "SimpleITKIO",  # fixes the order of slices and axes
    }
    if options.channels.changes_images:  # nnU-Net copies this file into the model's folder: new images need the same
        made = {**asdict(options.channels), "windows": list(options.channels.windows)}
        document[MADE_CHANNELS] = {"of": list(source.channel_names), **made}
    if source.regions_class_order:
        document["regions_class_order"] = list(source.regions_class_order)
    return document
