"""The one writer of nnU-Net raw datasets: checks every case, copies the files, and says what it did."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.documents import write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume, check_same_geometry, read_image, read_mask
from nnunet_multitask.labels import SIDECAR_NAME, Case, LabelSidecar, Target, case_id_fault, write_sidecar
from nnunet_multitask.storage import atomic_directory

logger = logging.getLogger(__name__)

REPORT_NAME = "conversion_report.json"


@dataclass(frozen=True)
class SourceCase:
    """One case of a source data set.

    Args:
        case_id: its name in the new dataset.
        images: one file for each channel.
        mask: its segmentation.
        case: labels, group and split for the sidecar.
        is_test: goes to imagesTs and labelsTs.
    """

    case_id: str
    images: tuple[Path, ...]
    mask: Path
    case: Case
    is_test: bool = False


@dataclass(frozen=True)
class Exclusion:
    """A case of the source that was not taken, and why."""

    case: str
    code: str
    reason: str


@dataclass(frozen=True)
class Source:
    """What a converter found.

    Args:
        converter: its name.
        folder: the input; the report names files relative to it.
        cases: what is to be written.
        targets: the targets of the sidecar.
        labels: nnU-Net's labels without background, name to value.
        channel_names: a name for each channel; nnU-Net normalises by it.
        file_ending: of all images and masks.
        excluded: cases already left out.
        warnings: what a user should know.
        exclude_faults: codes of faults for which a case is left out; any other fault refuses the whole.
        expects_foreground: an empty mask deserves a warning.
        description: for dataset.json.
    """

    converter: str
    folder: Path
    cases: Sequence[SourceCase]
    targets: Mapping[str, Target]
    labels: Mapping[str, int]
    channel_names: Sequence[str]
    file_ending: str = ".nii.gz"
    excluded: Sequence[Exclusion] = ()
    warnings: Sequence[str] = ()
    exclude_faults: Collection[str] = ()
    expects_foreground: bool = False
    description: str = ""


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


def write_dataset(source: Source, folder: Path, *, overwrite: bool = False, progress: bool = True) -> Path:
    """Check every case and write the dataset, whole or not at all.

    Input files are copied as they are; only a mask of floats beside integers is written anew, under its own header.

    Args:
        source: what to write.
        folder: from ``dataset_folder``.
        overwrite: replace an existing folder.
        progress: show a progress bar.

    Returns:
        ``folder``, with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, class_labels.json and
        conversion_report.json.

    Raises:
        InputErrors: every fault of every case that is no reason to leave just the case out.
        InputError: no training case is left.
    """
    from tqdm import tqdm

    errors = _id_errors(source.cases)
    if errors:
        raise InputErrors(errors)
    report: dict[str, Any] = {}
    taken: list[SourceCase] = []
    excluded = list(source.excluded)
    warnings = list(source.warnings)
    with atomic_directory(folder, overwrite) as temporary:
        for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
            (temporary / name).mkdir()
        for case in tqdm(source.cases, desc=f"convert {source.converter}", unit="case", disable=not progress):
            try:
                images, mask = _read_case(case, source.labels)
            except InputError as error:
                if error.code in source.exclude_faults:
                    excluded.append(Exclusion(case.case_id, error.code, error.fault))
                else:
                    errors.append(error)
                continue
            if errors:
                continue  # nothing will be kept: go on checking only
            warnings.extend(_case_warnings(case, images, mask, source))
            _write_case(case, mask, temporary, source.file_ending)
            taken.append(case)
            report[case.case_id] = _case_report(case, mask, source.folder)
        if errors:
            raise InputErrors(errors)
        num_training = sum(not case.is_test for case in taken)
        if num_training == 0:
            raise InputError(
                "no-training-case", source.folder, "expected training cases, found none", "check the splits"
            )
        for text in (*(f"{item.case} is left out: {item.reason}" for item in excluded), *warnings):
            logger.warning("WARN %s", text)
        write_sidecar(
            LabelSidecar(source.targets, {case.case_id: case.case for case in taken}), temporary / SIDECAR_NAME
        )
        write_json(temporary / "dataset.json", _dataset_json(source, num_training, folder.name))
        counts = {
            "training": num_training,
            "test": len(taken) - num_training,
            "repaired": sum(entry["status"] == "repaired" for entry in report.values()),
            "excluded": len(excluded),
        }
        document = {
            "version": 1,
            "converter": source.converter,
            "counts": counts,
            "excluded": [{"case": item.case, "code": item.code, "reason": item.reason} for item in excluded],
            "warnings": warnings,
            "cases": report,
        }
        write_json(temporary / REPORT_NAME, document)
    return folder


def _id_errors(cases: Sequence[SourceCase]) -> list[InputError]:
    errors = []
    seen: dict[str, SourceCase] = {}
    for case in cases:
        fault = case_id_fault(case.case_id)
        if fault is not None:
            errors.append(InputError("unsafe-case-id", case.mask, fault, "rename the file"))
        if case.case_id in seen:
            fault = f"expected each case once, {case.case_id} is also {seen[case.case_id].mask}"
            errors.append(InputError("duplicate-case", case.mask, fault, "remove one"))
        seen[case.case_id] = case
    return errors


def _read_case(case: SourceCase, labels: Mapping[str, int]) -> tuple[list[Volume], Volume]:
    images = [read_image(path) for path in case.images]
    mask = read_mask(case.mask, allowed_labels=[0, *labels.values()])
    for other in (*images[1:], mask):
        check_same_geometry(images[0], other)
    return images, mask


def _case_warnings(case: SourceCase, images: Sequence[Volume], mask: Volume, source: Source) -> list[str]:
    warnings = []
    if source.expects_foreground and not mask.array.any():
        warnings.append(f"{case.case_id}: expected blood in the mask, it is empty")
    for name, image in zip(source.channel_names, images, strict=True):
        if name == "CT" and image.array.min() >= 0:
            warnings.append(f"{case.case_id}: expected Hounsfield units in the channel CT, got no value below 0")
    return warnings


def _write_case(case: SourceCase, mask: Volume, folder: Path, file_ending: str) -> None:
    part = "Ts" if case.is_test else "Tr"
    for index, path in enumerate(case.images):
        shutil.copyfile(path, folder / f"images{part}" / f"{case.case_id}_{index:04d}{file_ending}")
    destination = folder / f"labels{part}" / f"{case.case_id}{file_ending}"
    if mask.repaired_voxels:
        _write_repaired(mask, destination)
    else:
        shutil.copyfile(case.mask, destination)


def _write_repaired(mask: Volume, destination: Path) -> None:
    """Write the integers of a mask under the header of its own file."""
    array = mask.array.astype(np.uint8 if mask.array.max() < 256 else np.int32)
    if destination.name.endswith((".nii", ".nii.gz")):
        import nibabel

        header = nibabel.Nifti1Image.from_filename(mask.path).header.copy()
        header.set_data_dtype(array.dtype)
        header.set_slope_inter(1, 0)
        nibabel.save(nibabel.Nifti1Image(array.T, None, header), destination)
        return
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sitk.ReadImage(str(mask.path)))
    sitk.WriteImage(image, str(destination), useCompression=True)


def _case_report(case: SourceCase, mask: Volume, source_folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "status": "repaired" if mask.repaired_voxels else "taken",
        "part": "test" if case.is_test else "training",
        "images": [path.relative_to(source_folder).as_posix() for path in case.images],
        "mask": case.mask.relative_to(source_folder).as_posix(),
        "foreground_voxels": int(np.count_nonzero(mask.array)),
    }
    if mask.repaired_voxels:
        entry["repair"] = f"{mask.repaired_voxels} mask voxels beside an integer were rounded"
    return entry


def _dataset_json(source: Source, num_training: int, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": source.description,
        "channel_names": {str(index): channel for index, channel in enumerate(source.channel_names)},
        "labels": {"background": 0, **source.labels},
        "numTraining": num_training,
        "file_ending": source.file_ending,
        "overwrite_image_reader_writer": "SimpleITKIO",  # fixes the order of slices and axes
    }
