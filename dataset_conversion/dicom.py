"""Convert DICOM series to NIfTI, one file for each stack of parallel slices, without any patient data.

Series are found below the folder whatever the files are called. Slices are put at their true positions: a series with
gantry tilt or uneven gaps is resampled to a grid with axes at right angles, or refused. CT is written in Hounsfield
units. Localizers, reports, colour pictures, multi-frame files and single slices are left out and named.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_multitask.dataset_conversion.dicom_report import NO_SERIES, Outcome, SeriesReport, digest
from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.dataset_conversion.script import positive, run_script
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.storage import atomic_directory

if TYPE_CHECKING:
    from nnunet_multitask.dataset_conversion.dicom_series import Discovery, Stack

logger = logging.getLogger(__name__)

REPORT_NAME = "conversion_report.json"
CONVERTER = "dicom"


@dataclass(frozen=True)
class DicomOptions:
    """What a user may choose.

    Args:
        modalities: which are converted.
        names: ``hash`` names files by a hash of the series UID and keeps paths out of the report; ``folder`` names them
            by their folders, and the report names the source files: for folders whose names are no secret.
        on_irregular: ``resample`` or ``refuse`` tilted and unevenly spaced series.
        slice_spacing_mm: distance of the planes wanted; None for the median gap.
        skip_faulty: leave out series that cannot be converted, instead of refusing all.
        overwrite: replace a folder that this converter wrote.
        dry_run: read and check everything, write nothing.
        num_workers: processes, None for one a core.
        progress: show progress bars.
    """

    modalities: tuple[str, ...] = ("CT",)
    names: Literal["hash", "folder"] = "hash"
    on_irregular: Literal["resample", "refuse"] = "resample"
    slice_spacing_mm: float | None = None
    skip_faulty: bool = False
    overwrite: bool = False
    dry_run: bool = False
    num_workers: int | None = None
    progress: bool = True


def convert(input_dir: str | Path, output_dir: str | Path, options: DicomOptions = DicomOptions()) -> dict[str, Any]:
    """Convert every series below a folder.

    Args:
        input_dir: searched with its subfolders; never written to.
        output_dir: gets ``NAME.nii.gz`` for each stack and conversion_report.json, whole or not at all.
        options: what the user chose.

    Returns:
        The content of conversion_report.json.

    Raises:
        InputErrors: every file that is damaged, and every series that cannot be converted; with ``skip_faulty`` these
            are left out and named.
        InputError: no series at all, or the output folder may not be written.
    """
    from nnunet_multitask.dataset_conversion.dicom_series import find_stacks

    input_dir, output_dir = Path(input_dir), Path(output_dir)
    _check_places(input_dir, output_dir, options)
    found = find_stacks(input_dir, options.modalities, num_workers=options.num_workers, progress=options.progress)
    named = name_stacks(found.stacks, input_dir, options.names)
    if not named and not found.faults:
        raise InputError(
            "no-series", input_dir, f"expected DICOM series, {_nothing(found)}", "check --input and --modality"
        )
    if options.dry_run:
        return _convert_all(found, named, input_dir, None, options)
    with atomic_directory(output_dir, options.overwrite) as temporary:
        report = _convert_all(found, named, input_dir, temporary, options)
        write_json(temporary / REPORT_NAME, report)
    return report


def name_stacks(stacks: Sequence[Stack], input_dir: Path, names: str) -> dict[str, Stack]:
    """Return a file name without ending for each stack, each once, also where upper and lower case are the same.

    Args:
        stacks: what was found.
        input_dir: folder names are relative to it.
        names: ``hash``: modality and 12 hexadecimal digits of SHA-256 of the series UID; ``folder``: the folder that
            holds all files of the series, with the hash where that is not enough. A number follows where a series has
            several stacks.
    """
    hashes = [f"{stack.slices[0].modality}_{digest(stack.series_uid)}{_suffix(stack)}" for stack in stacks]
    if names == "folder":
        folders = [_folder_name(stack, input_dir) for stack in stacks]
        wanted = [f"{folder}{_suffix(stack)}" for folder, stack in zip(folders, stacks, strict=True)]
        count = Counter(name.lower() for name in wanted)
        hashes = [
            name if folder and count[name.lower()] == 1 else f"{folder}_{full}".lstrip("_")
            for folder, name, full in zip(folders, wanted, hashes, strict=True)
        ]
    return dict(zip(hashes, stacks, strict=True))


def _suffix(stack: Stack) -> str:
    return f"_{stack.number}" if stack.number else ""


def _folder_name(stack: Stack, input_dir: Path) -> str:
    common = os.path.commonpath([header.path.parent for header in stack.slices])
    words = re.sub(r"[^A-Za-z0-9_.+-]+", "_", os.path.relpath(common, input_dir))
    return words.strip("_.+-")[:150]


def _check_places(input_dir: Path, output_dir: Path, options: DicomOptions) -> None:
    def is_own(path: Path) -> bool:
        report = path / REPORT_NAME
        return report.is_file() and read_json(report).get("converter") == CONVERTER

    check_replaceable(output_dir, options.overwrite or options.dry_run, "a folder that this command wrote", is_own)
    if output_dir.resolve().is_relative_to(input_dir.resolve()):
        fault = f"expected a folder outside of {input_dir}, which is searched for series"
        raise InputError("bad-output", output_dir, fault, "choose another --output")


def _nothing(found: Discovery) -> str:
    reasons = Counter(item.code for item in found.left_out)
    return "found " + (
        ", ".join(f"{count} files left out as {code}" for code, count in sorted(reasons.items())) or "no file"
    )


@dataclass(frozen=True)
class _ConvertStack:
    """Reads a stack and writes it; runs in a worker."""

    folder: Path | None
    options: DicomOptions

    def __call__(self, item: tuple[str, Stack]) -> Outcome:
        from nnunet_multitask.dataset_conversion.dicom_volume import read_stack
        from nnunet_multitask.files import write_volume
        from nnunet_multitask.plausibility import intensity_warning

        name, stack = item
        try:
            read = read_stack(
                stack, on_irregular=self.options.on_irregular, slice_spacing_mm=self.options.slice_spacing_mm
            )
        except InputErrors as errors:
            return Outcome(faults=errors.errors)
        except InputError as error:
            return Outcome(faults=(error,))
        facts = dict(read.facts)
        if self.folder is not None:
            path = self.folder / f"{name}.nii.gz"
            write_volume(read.volume, path)
            facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        odd = intensity_warning(read.volume, read.slices[0].modality)
        return Outcome(facts, read.inputs, (*read.volume.warnings, *([odd] if odd else [])))


def _convert_all(
    found: Discovery, named: Mapping[str, Stack], input_dir: Path, folder: Path | None, options: DicomOptions
) -> dict[str, Any]:
    """Convert the stacks and return the report.

    Raises:
        InputErrors: faults, unless faulty series may be skipped and others are left.
    """
    from nnunet_multitask.engines.local import map_in_order

    # a file whose header cannot be read may be a slice of any series beside it
    doubtful = {Path(fault.where).parent for fault in found.faults}
    beside = {name for name, stack in named.items() if doubtful & {header.path.parent for header in stack.slices}}
    outcomes = map_in_order(
        _ConvertStack(folder, options),
        named.items(),
        num_workers=options.num_workers,
        description="convert dicom",
        unit="series",
        progress=options.progress,
    )
    report = SeriesReport(input_dir, with_paths=options.names == "folder")
    report.leave_out(found.left_out)
    faults = list(found.faults)
    for (name, stack), outcome in zip(named.items(), outcomes, strict=True):
        faults.extend(outcome.faults)
        if outcome.faults or name in beside:
            codes = sorted({fault.code for fault in outcome.faults}) or ["beside-faulty-file"]
            report.leave_out_stack(name, stack, codes)
            if folder is not None:
                (folder / f"{name}.nii.gz").unlink(missing_ok=True)
        else:
            report.take(name, outcome)
    if faults and not (options.skip_faulty and report.series):
        raise InputErrors(faults)
    for fault in faults:
        logger.warning("WARN %s", fault)
    return {
        "version": 1,
        "converter": CONVERTER,
        "counts": {
            "series": len(report.series),
            "left out": len(report.excluded),
            "unreadable files": len(found.faults),
        },
        "options": {
            "modalities": list(options.modalities),
            "on_irregular": options.on_irregular,
            "slice_spacing_mm": options.slice_spacing_mm,
        },
        "series": report.series,
        "excluded": report.excluded,
        "warnings": report.warnings,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="folder that is searched for series")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make, outside of --input")
    parser.add_argument(
        "--modality", nargs="+", default=["CT"], metavar="NAME", help="modalities to convert: CT, MR, PT (default CT)"
    )
    parser.add_argument(
        "--names",
        choices=("hash", "folder"),
        default="hash",
        help="name files by a hash of the series UID, without paths in the report (default), or by their folders",
    )
    parser.add_argument(
        "--on-irregular",
        choices=("resample", "refuse"),
        default="resample",
        help="what to do with gantry tilt and uneven gaps (default %(default)s)",
    )
    parser.add_argument(
        "--slice-spacing-mm", type=_spacing, metavar="MM", help="distance of the planes (default: the median gap)"
    )
    parser.add_argument(
        "--skip-faulty", action="store_true", help="leave out series that cannot be converted, and name them"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this command wrote")
    parser.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")
    parser.add_argument(
        "--num-workers", type=positive, metavar="N", help="series worked on at a time (default: one a core)"
    )


def _spacing(text: str) -> float:
    value = float(text)
    if not 0 < value <= 50:
        raise argparse.ArgumentTypeError(f"expected a distance above 0 and at most 50 mm, got {text}")
    return value


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    report = convert(
        args.input,
        args.output,
        DicomOptions(
            modalities=tuple(args.modality),
            names=args.names,
            on_irregular=args.on_irregular,
            slice_spacing_mm=args.slice_spacing_mm,
            skip_faulty=args.skip_faulty,
            overwrite=args.overwrite,
            dry_run=args.dry_run,
            num_workers=args.num_workers,
        ),
    )
    return {
        "folder": str(args.output),
        "written": not args.dry_run,
        "counts": report["counts"],
        "excluded": [_excluded(item) for item in report["excluded"]],
        # by hash the log has named each warning already, with its file
        "warnings": report["warnings"] if args.json or args.names == "folder" else [],
    }


def _excluded(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was left out, for the summary; files without series go by their number."""
    case = item["case"]
    if case == NO_SERIES:
        case = f"{item['files']} file{'s' if item['files'] > 1 else ''} without series"
    return {"case": case, "code": item["code"], "reason": item["reason"]}


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
