"""Convert PhysioNet CT-ICH (Hssayeni et al. 2020): head CT with five kinds of hemorrhage, labelled slice by slice.

Expects one of the published layouts: of 1.3.x ct_scans/PPP.nii, masks/PPP.nii (0 and 255),
hemorrhage_diagnosis_raw_ct.csv and Patient_demographics.csv; of 1.0 to 1.2 Patients_CT/PPP/brain/N.jpg,
bone/N.jpg, brain/N_HGE_Seg.jpg, hemorrhage_diagnosis.csv and patient_demographics.csv. Targets are ich (hemorrhage or
not), findings (IVH, IPH, SAH, EDH, SDH; any of them) and fracture, of each scan and of each slice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.phantom_readme import is_cohort
from nnunet_multitask.dataset_conversion.physionet_checks import missing_parts, read_tables
from nnunet_multitask.dataset_conversion.physionet_jpeg import JpegReader
from nnunet_multitask.dataset_conversion.physionet_labels import LABELS, kinds_of, make_targets, scan_labels
from nnunet_multitask.dataset_conversion.physionet_layout import Layout, find_layout, read_checksums
from nnunet_multitask.dataset_conversion.physionet_reading import NiftiReader
from nnunet_multitask.dataset_conversion.physionet_splits import (
    DEFAULT_SEED,
    SPLITS,
    SPLITS_WITHOUT_NEGATIVES,
    PatientSplit,
    split_patients,
)
from nnunet_multitask.dataset_conversion.physionet_tables import Patient, SliceTable
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
from nnunet_multitask.datasets import required_folder
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Case

DATASET_NAME = "PhysioNetCTICH"

# of the published scans: Kyung et al. 2022 (cited by Hoseyni et al. 2024), Chokshi et al. 2025
_KNOWN_ODDITIES = {
    58: "0.25 mL of blood, and called poor in quality (Kyung et al. 2022)",
    70: "an old bleed, darker than fresh blood (Chokshi et al. 2025 leave a chronic case out)",
    79: "called poor in quality (Kyung et al. 2022)",
}
_DESCRIPTION = "PhysioNet CT-ICH {version} (Hssayeni et al. 2020): intracranial hemorrhage in head CT"
_SYNTHETIC = "Synthetic cohort in the layout of PhysioNet CT-ICH; no patient was scanned"
_REFERENCE = "Hssayeni et al., Data 5:14 (2020), doi:10.3390/data5010014; PhysioNet, doi:10.13026/4nae-zg36"
_LICENCES = {
    "1.3.x": "PhysioNet data use agreement (1.3.1)",
    "1.0 to 1.2": "CC BY 4.0",
}


def convert(
    input_dir: str | Path,
    raw_dir: str | Path,
    *,
    dataset_id: int,
    dataset_name: str = DATASET_NAME,
    labels: str = "binary",
    split: str = "folds",
    seed: int | None = None,
    exclude: Collection[int] = (),
    bone_channel: bool = False,
    allow_missing: bool = False,
    options: ConversionOptions = DEFAULT_OPTIONS,
) -> Conversion:
    """Convert PhysioNet CT-ICH into an nnU-Net raw dataset with labels of scans and slices.

    Args:
        input_dir: the folder that holds ``ct_scans`` or ``Patients_CT``.
        raw_dir: the folder of raw datasets, ``$nnUNet_raw``.
        dataset_id: 1 to 999.
        dataset_name: the dataset becomes ``DatasetNNN_NAME``.
        labels: ``binary``, one foreground; or ``subtype``, in which the foreground of a slice with one kind has the
            label of that kind, and that of a slice with several is ignored, since the masks do not part them.
        split: of ``physionet_splits.SPLITS``.
        seed: of the split ``hoseyni-like``, 12345 by default.
        exclude: numbers of patients to leave out.
        bone_channel: of the JPEG releases, the bone window as second channel.
        allow_missing: take scans without rows (labels unknown) or without mask (label-only), and pass over rows and
            masks without scan.
        options: shared by all converters.

    Returns:
        The folder of the dataset, and the report.

    Raises:
        InputError, InputErrors: every fault of the source, with file, fault and remedy; nothing is written.
    """
    folder = dataset_folder(raw_dir, dataset_id, dataset_name, options.overwrite)
    source = read_source(
        Path(input_dir),
        labels=labels,
        split=split,
        seed=seed,
        exclude=exclude,
        bone_channel=bone_channel,
        allow_missing=allow_missing,
    )
    return write_dataset(source, folder, options)


def read_source(
    root: Path,
    *,
    labels: str = "binary",
    split: str = "folds",
    seed: int | None = None,
    exclude: Collection[int] = (),
    bone_channel: bool = False,
    allow_missing: bool = False,
) -> Source:
    """Return what folders and tables say, without opening a scan; the arguments are those of ``convert``.

    Faulty names, tables and checksums, missing files and a split that misses patients are errors of the source: the
    scans can be checked all the same.

    Raises:
        InputError: another layout, or options that are unknown or contradict each other.
    """
    layout = find_layout(root)
    _check_options(layout, split, bone_channel)
    checksums, checksum_errors = read_checksums(root)
    errors = [*layout.errors, *checksum_errors]
    table, patients, warnings = read_tables(layout, checksums, errors)
    missing = [] if table is None else list(missing_parts(layout, table))
    if allow_missing:
        warnings += [str(error) for error in missing]
    else:
        errors += missing
    rows = table.patients if table else {}
    parts = _split(split, layout, table, exclude, seed, errors)
    targets = make_targets(labels, with_ich=split not in SPLITS_WITHOUT_NEGATIVES)
    cases = [
        case
        for patient in sorted(parts.train | parts.test)
        for case in _patient_cases(
            patient,
            layout,
            parts,
            reader=(NiftiReader if layout.is_nifti else JpegReader)(
                rows.get(patient, {}), tuple(targets), labels == "subtype", checksums
            ),
            attributes=patients.get(patient, Patient()).attributes(),
            bone_channel=bone_channel,
        )
    ]
    synthetic = is_cohort(root)
    return Source(
        converter="physionet-ct-ich",
        folder=root,
        cases=cases,
        targets=targets,
        labels=LABELS[labels],
        # JPEG slices hold grey levels of a window: nnU-Net divides by 255 and does nothing else
        channel_names=("CT",) if layout.is_nifti else ("rgb_to_0_1",) * (2 if bone_channel else 1),
        excluded=[Exclusion(case_name(patient), "not-in-split", why) for patient, why in parts.left_out.items()],
        errors=errors,
        warnings=[*warnings, *parts.warnings, *_notes(layout, parts, split, synthetic)],
        description=_SYNTHETIC if synthetic else _DESCRIPTION.format(version=layout.version),
        reference="" if synthetic else _REFERENCE,
        licence="" if synthetic else _LICENCES[layout.version],
        intensities_are_hu=layout.is_nifti,
        hyperdense_foreground=True,
        options={
            "labels": labels,
            "split": split,
            "seed": seed,
            "exclude": sorted(exclude),
            "bone_channel": bone_channel,
            "allow_missing": allow_missing,
        },
    )


def case_name(patient: int) -> str:
    """Return the id of a patient's case, ``ICH_049``."""
    return f"ICH_{patient:03d}"


def _check_options(layout: Layout, split: str, bone_channel: bool) -> None:
    if layout.is_nifti and bone_channel:
        fault = "expected the JPEG slices of 1.0 to 1.2, got volumes in Hounsfield units"
        raise InputError("contradicting-options", "--bone-channel", fault, "use --windows ct-ich,ct-ich-bone")
    if not layout.is_nifti and split == "hoseyni-like":
        fault = "expected the 75 scans of 1.3.x, of which Hoseyni et al. 2024 took 73, got the layout of 1.0 to 1.2"
        raise InputError("contradicting-options", "--split hoseyni-like", fault, "convert 1.3.x, or use --split folds")


def _split(
    name: str,
    layout: Layout,
    table: SliceTable | None,
    exclude: Collection[int],
    seed: int | None,
    errors: list[InputError],
) -> PatientSplit:
    """Return the parts, or all patients as one where data are missing for the split, which is added to ``errors``."""
    everybody = PatientSplit(frozenset(layout.scans) - set(exclude), has_parts=False)
    if table is None:
        return everybody
    kinds = {patient: kinds_of(table.patients.get(patient, {}).values()) for patient in layout.scans}
    try:
        return split_patients(name, kinds, exclude, seed)
    except InputError as error:
        if error.code in ("unknown-split", "contradicting-options"):  # no fault of the data
            raise
        errors.append(error)
        return everybody


def _patient_cases(
    patient: int,
    layout: Layout,
    parts: PatientSplit,
    *,
    reader: NiftiReader | JpegReader,
    attributes: Mapping[str, Any],
    bone_channel: bool,
) -> Iterator[SourceCase]:
    """Yield the case of a patient, and a second one where the split has the patient on both sides."""
    labels = {name: label for name, label in scan_labels(reader.slices).items() if name in reader.targets}
    scan = layout.scans[patient]
    images = (scan,) if layout.is_nifti else (scan / "brain", scan / "bone")[: 2 if bone_channel else 1]
    for part, members in (("train", parts.train), ("test", parts.test)):
        if patient not in members:
            continue
        is_copy = part == "train" and patient in parts.test
        yield SourceCase(
            case_id=f"{case_name(patient)}_train" if is_copy else case_name(patient),
            images=images,
            mask=layout.masks.get(patient),
            case=Case(labels, f"{patient:03d}", part if parts.has_parts else None, attributes),
            is_test=part == "test",
            reader=reader,
        )


def _notes(layout: Layout, parts: PatientSplit, split: str, synthetic: bool) -> Iterator[str]:
    """Yield what a user should know of these scans, whatever the tables say."""
    if split in SPLITS_WITHOUT_NEGATIVES:
        yield f"split {split}: every scan has hemorrhage, so there is no target ich"
    if not layout.is_nifti:
        yield (
            "the JPEG releases give no spacing: 1 mm is written along every axis, so that no length or volume means "
            "anything; grey levels are those of a window, no Hounsfield units; slice numbers are not those of 1.3.x"
        )
    if synthetic:
        yield "the scans are a phantom: results on them say nothing about patients"
        return
    for patient, oddity in _KNOWN_ODDITIES.items():
        if patient in parts.train | parts.test:
            yield f"{case_name(patient)}: {oddity}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    add_dataset_arguments(parser, DATASET_NAME)
    parser.add_argument(
        "--labels",
        choices=tuple(LABELS),
        default="binary",
        help="binary: one foreground; subtype: a label for each of the five kinds, blood on slices with several kinds "
        "being ignored (default %(default)s)",
    )
    texts = "; ".join(f"{name}: {text}" for name, text in SPLITS.items())
    parser.add_argument("--split", choices=tuple(SPLITS), default="folds", help=f"{texts} (default %(default)s)")
    parser.add_argument("--seed", type=int, metavar="N", help=f"of --split hoseyni-like (default {DEFAULT_SEED})")
    parser.add_argument(
        "--exclude", type=int, nargs="+", default=(), metavar="PATIENT", help="leave patients out, for example 58 79"
    )
    parser.add_argument(
        "--bone-channel", action="store_true", help="of the JPEG releases: the bone window as second channel"
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="take scans without rows (labels unknown) or mask (label-only), pass over rows and masks without scan",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    conversion = convert(
        args.input,
        required_folder("nnUNet_raw"),
        dataset_id=args.dataset_id,
        dataset_name=args.dataset_name,
        labels=args.labels,
        split=args.split,
        seed=args.seed,
        exclude=args.exclude,
        bone_channel=args.bone_channel,
        allow_missing=args.allow_missing,
        options=options_from(args),
    )
    return summarize(conversion)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
