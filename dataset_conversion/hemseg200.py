"""Convert HemSeg-200 or HemSeg-500 (Song et al. 2024): head CT with intraparenchymal or intraventricular hemorrhage.

Expects {train,val,test}/label/SCAN.nii.gz, {train,val,test}_set.csv with filename,label (0 = IPH, 1 = IVH) and, where
present, annotion_file_info.jsonl (annotion_file_info_500.jsonl) with the patient and the DICOM slices of each scan. The
publication distributes masks only. The images are {train,val,test}/image/SCAN.nii.gz, or are rebuilt from the DICOM
files of the RSNA 2019 challenge, which --rsna-dicom names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nnunet_multitask.dataset_conversion.hemseg_files import ENDING, check_rebuild, find_images, find_slices
from nnunet_multitask.dataset_conversion.hemseg_lists import CLASSES, SPLITS, ListedScan, read_classes, read_lists
from nnunet_multitask.dataset_conversion.hemseg_reader import EXCLUDING_FAULTS, HemSegReader
from nnunet_multitask.dataset_conversion.raw_writer import (
    DEFAULT_OPTIONS,
    Conversion,
    ConversionOptions,
    Exclusion,
    Source,
    SourceCase,
    dataset_folder,
    write_dataset,
)
from nnunet_multitask.dataset_conversion.resplit import deal_parts, part_sizes
from nnunet_multitask.dataset_conversion.script import add_dataset_arguments, options_from, run_script, summarize
from nnunet_multitask.datasets import list_cases, required_folder
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Target

DATASET_NAME = "HemSeg200"
TARGET = Target("subtype", "multiclass", CLASSES, "kind of bleeding: intraparenchymal or intraventricular")
SHARES = {"train": 160, "val": 40, "test": 22}  # of the 222 scans, as Xiao et al. 2025 part them

DEFAULT_SEED = 12345
PATIENT_FILE = "annotion_file_info.jsonl"


@dataclass(frozen=True)
class HemSegOptions:
    """What is particular to this source.

    Args:
        labels: ``binary``: blood is 1, as published; ``subtype``: 1 in a scan of class IPH, 2 in one of class IVH.
        rsna_dicom: folder with the files ID_SLICE.dcm of the RSNA 2019 challenge, from which the images are rebuilt.
        annotations: folder of the tables and lists; None where they lie beside the folders of the splits.
        resplit: part the scans anew, by class and patient, in proportion 160 : 40 : 22, with ``seed``.
        seed: who goes where, ``DEFAULT_SEED`` by default.
        allow_missing: leave out scans whose image or slices are missing, instead of refusing the whole.
    """

    labels: Literal["binary", "subtype"] = "binary"
    rsna_dicom: Path | None = None
    annotations: Path | None = None
    resplit: bool = False
    seed: int | None = None
    allow_missing: bool = False


def convert(
    input_dir: str | Path,
    raw_dir: str | Path,
    *,
    dataset_id: int,
    dataset_name: str = DATASET_NAME,
    hemseg: HemSegOptions = HemSegOptions(),
    options: ConversionOptions = DEFAULT_OPTIONS,
) -> Conversion:
    """Convert the folders of HemSeg-200 or HemSeg-500 into an nnU-Net raw dataset.

    The folders give the split: train and val become training cases, test becomes test cases. The class comes from
    whichever table names the scan, since the tables carry the split of the 500.

    Args:
        input_dir: the root of the source.
        raw_dir: the folder of raw datasets, ``$nnUNet_raw``.
        dataset_id: 1 to 999.
        dataset_name: the dataset becomes ``DatasetNNN_NAME``.
        hemseg: what is particular to this source.
        options: shared by all converters.

    Returns:
        The folder of the dataset, and the report.

    Raises:
        InputError, InputErrors: every fault of the source, with file, fault and remedy; nothing is written.
    """
    folder = dataset_folder(raw_dir, dataset_id, dataset_name, options.overwrite)
    return write_dataset(read_source(Path(input_dir), hemseg), folder, options)


def read_source(root: Path, options: HemSegOptions = HemSegOptions()) -> Source:
    """Return what the folders, tables and lists say, without opening an image.

    Faulty tables and lists, and missing images, are errors of the source: the other files can be checked all the same.

    Raises:
        InputError, InputErrors: the layout is another one, options contradict each other, or the images cannot be
            rebuilt at all.
    """
    if options.seed is not None and not options.resplit:
        fault = "expected --seed with --resplit only, got it without"
        raise InputError("contradicting-options", "--seed", fault, "leave it out; `nnunet-multitask split` has its own")
    splits = [split for split in SPLITS if (root / split / "label").is_dir()]
    if not splits:
        fault = "expected {train,val,test}/label/SCAN.nii.gz, found no such folder"
        raise InputError("unknown-layout", root, fault, "point --input at the folder that holds train, val and test")
    annotations = options.annotations or root
    classes, class_errors = read_classes(annotations)
    lists, list_errors = read_lists(annotations)
    errors = [*class_errors, *list_errors]
    if options.rsna_dicom is not None:
        try:
            check_rebuild(options.rsna_dicom, annotations, lists)
        except InputError as error:
            raise InputErrors([*errors, error]) from error
    cases: list[SourceCase] = []
    excluded: list[Exclusion] = []
    for split in splits:
        masks = list_cases(root / split / "label", ENDING)
        images, split_excluded, split_errors = (
            find_images(root / split / "image", masks, allow_missing=options.allow_missing)
            if options.rsna_dicom is None
            else find_slices(masks, lists, options.rsna_dicom, allow_missing=options.allow_missing)
        )
        excluded += split_excluded
        # a scan may lack its list for no other reason than a faulty line
        errors += [error for error in split_errors if not list_errors or error.code != "missing-slice-list"]
        for scan in sorted(set(images) & set(masks)):
            listed = lists.get(scan)
            labels = {TARGET.name: classes[scan]} if scan in classes else {}
            case = Case(labels, group=listed.patient if listed else None, split=split)
            if options.labels == "subtype" and not labels and not class_errors:
                reason = "no table names its class, so its mask cannot get the value of one"
                excluded.append(Exclusion(f"HEM_{scan}", "unknown-class", reason))
                continue
            reader = _reader(scan, listed, classes.get(scan), options)
            is_test = split == "test"
            cases.append(SourceCase(f"HEM_{scan}", images[scan], masks[scan], case, is_test=is_test, reader=reader))
    warnings = _label_warnings(cases, bool(lists))
    if options.rsna_dicom is not None:
        warnings += _list_warnings(cases, lists)
    seed = DEFAULT_SEED if options.seed is None else options.seed
    if not options.resplit:
        warnings += _split_warnings(cases)
    elif not errors:  # else too few scans may be left to part
        cases = _resplit(cases, seed)
    is_binary = options.labels == "binary"
    return Source(
        converter="hemseg200",
        folder=root,
        cases=cases,
        targets={TARGET.name: TARGET},
        labels={"hemorrhage": 1} if is_binary else {name: value for value, name in enumerate(CLASSES, start=1)},
        channel_names=("CT",),
        excluded=excluded,
        errors=errors,
        warnings=warnings,
        # images that were built otherwise may have more slices than were annotated
        exclude_faults=EXCLUDING_FAULTS if options.rsna_dicom is not None else ("shape-differs",),
        expects_foreground=True,
        hyperdense_foreground=True,
        description="HemSeg (Song et al. 2024): intraparenchymal and intraventricular hemorrhage in head CT",
        reference="https://arxiv.org/abs/2405.14559",
        options={
            "labels": options.labels,
            "rebuilt_from_dicom": options.rsna_dicom is not None,
            "resplit": options.resplit,
            **({"seed": seed} if options.resplit else {}),
            "allow_missing": options.allow_missing,
        },
    )


def _reader(
    scan: str, listed: ListedScan | None, class_name: str | None, options: HemSegOptions
) -> HemSegReader | None:
    foreground = 1 + CLASSES.index(class_name) if options.labels == "subtype" and class_name else 1
    if options.rsna_dicom is not None and listed is not None:
        return HemSegReader(foreground, from_dicom=True, study=f"ID_{scan}", patient=listed.patient)
    return HemSegReader(foreground) if options.labels == "subtype" else None


def _resplit(cases: list[SourceCase], seed: int) -> list[SourceCase]:
    """Part the cases anew; a scan without patient is a patient of its own."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(case.case.group or f"scan {case.case_id}", []).append(case.case_id)
    class_of = {case.case_id: _class_name(case) for case in cases}
    part_of = deal_parts(groups, class_of, part_sizes(len(cases), SHARES), seed)
    return [
        replace(
            case,
            case=replace(case.case, split=part_of[case.case_id]),
            is_test=part_of[case.case_id] == "test",
        )
        for case in cases
    ]


def _class_name(case: SourceCase) -> str | None:
    label = case.case.labels.get(TARGET.name)
    return None if label is None else str(label)


def _label_warnings(cases: list[SourceCase], has_lists: bool) -> list[str]:
    warnings = [f"{case.case_id}: no table names its class; it is unknown" for case in cases if not case.case.labels]
    if not has_lists:
        return [*warnings, f"there is no {PATIENT_FILE}: every scan is its own group"]
    return warnings + [
        f"{case.case_id}: {PATIENT_FILE} does not name its patient; it is its own group"
        for case in cases
        if case.case.group is None
    ]


def _list_warnings(cases: list[SourceCase], lists: Mapping[str, ListedScan]) -> list[str]:
    warnings = []
    for case in cases:
        listed = lists[case.case_id.removeprefix("HEM_")]
        if listed.num_repeated:
            total = len(listed.slices) + listed.num_repeated
            text = f"its list names {listed.num_repeated} of {total} slices again; each was taken once"
            warnings.append(f"{case.case_id}: {text}")
    return warnings


def _split_warnings(cases: list[SourceCase]) -> list[str]:
    scans: dict[str, list[SourceCase]] = {}
    for case in cases:
        if case.case.group is not None:
            scans.setdefault(case.case.group, []).append(case)
    return [
        f"patient {patient} has scans in several splits: "
        + ", ".join(f"{member.case_id} ({member.case.split})" for member in members)
        for patient, members in sorted(scans.items())
        if len({member.case.split for member in members}) > 1
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    add_dataset_arguments(parser, DATASET_NAME)
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="folder of the CSV and jsonl files (default: that of --input)"
    )
    parser.add_argument(
        "--rsna-dicom", type=Path, metavar="DIR", help="rebuild the images from the files ID_SLICE.dcm of this folder"
    )
    parser.add_argument(
        "--labels",
        choices=("binary", "subtype"),
        default="binary",
        help="one label for all blood, as published (default), or IPH 1 and IVH 2 by the class of the scan",
    )
    parser.add_argument(
        "--resplit", action="store_true", help="part the scans anew by class and patient, 160 : 40 : 22 (Xiao et al.)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help=f"of --resplit (default {DEFAULT_SEED})")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out scans whose image or DICOM slices are missing, and name them, instead of refusing the whole",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    conversion = convert(
        args.input,
        required_folder("nnUNet_raw"),
        dataset_id=args.dataset_id,
        dataset_name=args.dataset_name,
        hemseg=HemSegOptions(
            labels=args.labels,
            rsna_dicom=args.rsna_dicom,
            annotations=args.annotations,
            resplit=args.resplit,
            seed=args.seed,
            allow_missing=args.allow_missing,
        ),
        options=options_from(args),
    )
    return summarize(conversion)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
