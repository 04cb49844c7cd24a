"""PhysioNet CT-ICH in the layout of 1.3.x, as small as it can be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_multitask.dataset_conversion.physionet_ct_ich import convert
from nnunet_multitask.dataset_conversion.raw_writer import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors

# patient -> kinds of each slice, from the lowest up; each kind occurs and fails to occur
SLICES: dict[int, list[list[str]]] = {
    49: [[], [], ["EDH"], ["EDH"]],
    50: [[], ["IPH"], ["IPH", "SDH"], []],
    54: [[], [], [], []],
    80: [["IVH"], ["IVH", "IPH"], ["SAH"], []],
}
FRACTURED = {49: [3]}
KIND_ORDER = ("IVH", "IPH", "SAH", "EDH", "SDH")
LAS = np.array([[-0.5, 0, 0, 40], [0, 0.5, 0, -30], [0, 0, 5, -10], [0, 0, 0, 1.0]])
# the heads of both tables, as published
HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
PATIENTS = (
    'Patient Number,"Age\n(years)",Gender,Hemorrhage type based on the radiologists diagnosis ,,,,,'
    "Fracture (yes 1/no 0),Note1\r\n"
    ",,,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,,\r\n"
)

OPTIONS = ConversionOptions(progress=False, num_workers=1)


def save(path: Path, array_zyx: np.ndarray, affine: np.ndarray = LAS) -> None:
    """Write an array (Z, Y, X) as NIfTI."""
    nibabel.save(nibabel.Nifti1Image(np.asarray(array_zyx, np.int16).T, affine), path)


def blood(kinds: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the published mask: 255 at one place of every slice that shows a kind."""
    mask = np.zeros((len(kinds), 7, 6), np.int16)
    mask[[bool(found) for found in kinds], 2:4, 1:3] = 255
    return mask


def row(patient: int, number: int, kinds: Sequence[str], fractured: bool = False) -> str:
    """Return a row of the table of slices."""
    flags = [int(kind in kinds) for kind in KIND_ORDER]
    return ",".join(map(str, [patient, number, *flags, int(not kinds), int(fractured)]))


def write_tables(root: Path, slices: Mapping[int, Sequence[Sequence[str]]]) -> None:
    """Write the table of slices and that of patients, who are of the age N - 30."""
    rows = [
        row(patient, index + 1, found, index in FRACTURED.get(patient, []))
        for patient, kinds in slices.items()
        for index, found in enumerate(kinds)
    ]
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_bytes("\r\n".join([HEADER, *rows, ""]).encode())
    people = []
    for patient, kinds in slices.items():
        flags = ["1" if any(kind in found for found in kinds) else "" for kind in KIND_ORDER]
        people.append(f"{patient},{patient - 30},Female,{','.join(flags)},{1 if patient in FRACTURED else ''},")
    (root / "Patient_demographics.csv").write_bytes((PATIENTS + "\r\n".join([*people, ""])).encode())


def write_source(root: Path, slices: Mapping[int, Sequence[Sequence[str]]] = SLICES) -> Path:
    """Write the layout of 1.3.x; the image of a patient holds the patient's number at one voxel."""
    for name in ("ct_scans", "masks"):
        (root / name).mkdir(parents=True)
    for patient, kinds in slices.items():
        image = np.full((len(kinds), 7, 6), -1000)
        image[:, 1:6, 1:5] = 35
        image[blood(kinds) > 0] = 65
        image[1, 4, 4] = patient
        save(root / "ct_scans" / f"{patient:03d}.nii", image)
        save(root / "masks" / f"{patient:03d}.nii", blood(kinds))
    write_tables(root, slices)
    return root


def write_checksums(root: Path) -> None:
    """Write the checksums of all files that are there."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root).as_posix()}" for path in files]
    (root / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")


def run(source: Path, **arguments: Any) -> Path:
    """Convert it and return the dataset's folder."""
    arguments = {"dataset_id": 75, "options": OPTIONS, **arguments}
    return convert(source, source.parent / "raw", **arguments).folder


def report(folder: Path) -> dict[str, Any]:
    """Return what the conversion reports."""
    return dict(read_json(folder / "conversion_report.json"))


def faults(source: Path, **arguments: Any) -> list[InputError]:
    """Return what is refused; nothing is written."""
    with pytest.raises(InputErrors) as caught:
        run(source, **arguments)
    raw = list((source.parent / "raw").iterdir())
    assert not any(path.name.startswith((".tmp", f"Dataset{arguments.get('dataset_id', 75):03d}")) for path in raw)
    return list(caught.value.errors)


def read_itk(path: Path) -> np.ndarray:
    """Return (Z, Y, X) as nnU-Net's SimpleITKIO does."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
