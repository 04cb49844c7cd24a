"""Convert HemSeg-200 (Song et al. 2024): head CT with intraparenchymal (IPH) or intraventricular (IVH) hemorrhage.

Expects {train,val,test}/image/SCAN.nii.gz, {train,val,test}/label/SCAN.nii.gz, {train,val,test}_set.csv with
filename,label (0 = IPH, 1 = IVH) and, where present, annotion_file_info.jsonl with the patient of each scan. The
publication distributes masks only: the images have to be built from the RSNA 2019 DICOM files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

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
from nnunet_multitask.dataset_conversion.script import add_dataset_arguments, options_from, run_script, summarize
from nnunet_multitask.dataset_conversion.tables import read_table
from nnunet_multitask.datasets import list_cases, required_folder
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Target

DATASET_NAME = "HemSeg200"
SPLITS = ("train", "val", "test")
CLASSES = ("IPH", "IVH")
TARGET = Target("subtype", "multiclass", CLASSES, "kind of bleeding: intraparenchymal or intraventricular")
PATIENT_FILE = "annotion_file_info.jsonl"  # the source's own spelling

_ENDING = ".nii.gz"


def convert(
    input_dir: str | Path,
    raw_dir: str | Path,
    *,
    dataset_id: int,
    dataset_name: str = DATASET_NAME,
    options: ConversionOptions = DEFAULT_OPTIONS,
) -> Conversion:
    """Convert the folders of HemSeg-200 into an nnU-Net raw dataset with one label, ``hemorrhage``.

    The folders give the split: train and val become training cases, test becomes test cases. The class comes from
    whichever table names the scan, since the published tables carry another split.

    Args:
        input_dir: the root of the source.
        raw_dir: the folder of raw datasets, ``$nnUNet_raw``.
        dataset_id: 1 to 999.
        dataset_name: the dataset becomes ``DatasetNNN_NAME``.
        options: shared by all converters.

    Returns:
        The folder of the dataset, and the report.

    Raises:
        InputError, InputErrors: every fault of the source, with file, fault and remedy; nothing is written.
    """
    folder = dataset_folder(raw_dir, dataset_id, dataset_name, options.overwrite)
    return write_dataset(read_source(Path(input_dir)), folder, options)


def read_source(root: Path) -> Source:
    """Return what the folders, tables and the patient file say, without opening an image.

    Raises:
        InputError, InputErrors: the layout is another one, tables contradict each other, or images are missing.
    """
    splits = [split for split in SPLITS if (root / split / "label").is_dir()]
    if not splits:
        fault = "expected {train,val,test}/label/SCAN.nii.gz, found no such folder"
        raise InputError("unknown-layout", root, fault, "point --input at the folder that holds train, val and test")
    classes = _read_classes(root)
    patients = _read_patients(root / PATIENT_FILE)
    cases, excluded, errors = [], [], []
    for split in splits:
        masks = list_cases(root / split / "label", _ENDING)
        image_folder = root / split / "image"
        images = list_cases(image_folder, _ENDING) if image_folder.is_dir() else {}
        if masks and not images:
            fault = f"expected the images of {len(masks)} masks, found none"
            errors.append(InputError("missing-images", image_folder, fault, _image_remedy(split)))
            continue
        for scan in sorted(set(masks) - set(images)):
            place = image_folder / f"{scan}{_ENDING}"
            errors.append(InputError("missing-image", place, "expected an image, found none", _image_remedy(split)))
        for scan in sorted(set(images) - set(masks)):
            excluded.append(Exclusion(f"HEM_{scan}", "missing-mask", f"there is no {split}/label/{scan}{_ENDING}"))
        for scan in sorted(set(images) & set(masks)):
            labels = {TARGET.name: classes[scan]} if scan in classes else {}
            case = Case(labels, group=patients.get(scan), split=split)
            cases.append(SourceCase(f"HEM_{scan}", (images[scan],), masks[scan], case, is_test=split == "test"))
    if errors:
        raise InputErrors(errors)
    return Source(
        converter="hemseg200",
        folder=root,
        cases=cases,
        targets={TARGET.name: TARGET},
        labels={"hemorrhage": 1},
        channel_names=("CT",),
        excluded=excluded,
        warnings=_label_warnings(cases, bool(patients)),
        exclude_faults=("shape-differs",),  # scans whose image has more slices than were annotated
        expects_foreground=True,
        hyperdense_foreground=True,
        description="HemSeg-200 (Song et al. 2024): intracerebral and intraventricular hemorrhage in head CT",
    )


def _image_remedy(split: str) -> str:
    return f"build {split}/image/SCAN{_ENDING} from the RSNA 2019 DICOM files; the publication holds masks only"


def _read_classes(root: Path) -> dict[str, str]:
    """Return the class of each scan that any of the three tables names."""
    classes: dict[str, str] = {}
    places: dict[str, str] = {}
    errors = []
    paths = [root / f"{split}_set.csv" for split in SPLITS if (root / f"{split}_set.csv").exists()]
    if not paths:
        fault = "expected train_set.csv, val_set.csv or test_set.csv, found none"
        raise InputError("missing-file", root, fault, "add the tables with filename,label")
    for path in paths:
        columns, rows = read_table(path)
        if not {"filename", "label"} <= set(columns):
            fault = f"expected the columns filename and label, got {', '.join(columns)}"
            errors.append(InputError("bad-table", path, fault, "correct the header"))
            continue
        for row in rows:
            place = f"{path}: line {row.number}"
            scan, label = row.values["filename"], row.values["label"]
            if label not in ("0", "1"):
                errors.append(
                    InputError("unknown-class", place, f"expected 0 (IPH) or 1 (IVH), got {label!r}", "correct it")
                )
                continue
            if classes.get(scan, CLASSES[int(label)]) != CLASSES[int(label)]:
                fault = f"expected one class for {scan}, {places[scan]} has another"
                errors.append(InputError("duplicate-case", place, fault, "remove the wrong row"))
            classes[scan] = CLASSES[int(label)]
            places[scan] = place
    if errors:
        raise InputErrors(errors)
    return classes


def _read_patients(path: Path) -> dict[str, str]:
    """Return the patient of each scan; empty where the source has no such file."""
    if not path.exists():
        return {}
    patients = {}
    errors = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            # the 200 and the 500 spell the keys differently
            scan = entry.get("scan_", entry.get("scan_name"))
            patient = entry.get("patient", entry.get("patient_name"))
        except (ValueError, AttributeError):
            scan = patient = None
        if not isinstance(scan, str) or not isinstance(patient, str) or not patient:
            fault = 'expected {"patient": ..., "scan_": ..., "slice_list": ...}, got ' + line[:80]
            errors.append(
                InputError("bad-json", f"{path}: line {number}", fault, "correct the line, or remove the file")
            )
            continue
        patients[scan] = patient
    if errors:
        raise InputErrors(errors)
    return patients


def _label_warnings(cases: list[SourceCase], has_patients: bool) -> list[str]:
    warnings = [f"{case.case_id}: no table names its class; it is unknown" for case in cases if not case.case.labels]
    scans: dict[str, list[SourceCase]] = {}
    for case in cases:
        if case.case.group is not None:
            scans.setdefault(case.case.group, []).append(case)
        elif has_patients:
            warnings.append(f"{case.case_id}: {PATIENT_FILE} does not name its patient; it is its own group")
    for patient, members in sorted(scans.items()):
        if len({member.case.split for member in members}) > 1:
            places = ", ".join(f"{member.case_id} ({member.case.split})" for member in members)
            warnings.append(f"patient {patient} has scans in several splits: {places}")
    if not has_patients:
        warnings.append(f"there is no {PATIENT_FILE}: every scan is its own group")
    return warnings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    add_dataset_arguments(parser, DATASET_NAME)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    conversion = convert(
        args.input,
        required_folder("nnUNet_raw"),
        dataset_id=args.dataset_id,
        dataset_name=args.dataset_name,
        options=options_from(args),
    )
    return summarize(conversion)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
