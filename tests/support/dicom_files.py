"""DICOM files that tests write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CT = "1.2.840.10008.5.1.4.1.1.2"
SECRETS = {  # what must never leave the DICOM files
    "PatientName": "DOE^JANE",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19510203",
    "StudyDate": "20190405",
    "AccessionNumber": "ACC-0815",
    "InstitutionName": "St. Elsewhere",
}


def write_dicom(
    path: Path,
    array: np.ndarray,
    position: Sequence[float] = (0, 0, 0),
    orientation: Sequence[float] = AXIAL,
    *,
    compression: str | None = None,
    implicit: bool = False,
    big_endian: bool = False,
    preamble: bool = True,
    **attributes: Any,
) -> Path:
    """Write one slice; ``attributes`` set or, being None, remove elements.

    ``array`` holds the stored values; ``compression`` is JPEG (lossless) or JPEG2000 (lossless), by GDCM, or RLE.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    dataset = pydicom.Dataset()
    number = int(attributes.get("InstanceNumber") or 1)
    signed = array.dtype.kind == "i"
    elements = {
        **SECRETS,
        "SOPClassUID": CT,
        "SOPInstanceUID": f"1.2.3.{abs(hash(str(path))) % 10**12}.{number}",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceNumber": number,
        "ImagePositionPatient": [f"{value:.7f}" for value in position],
        "ImageOrientationPatient": [f"{value:.7f}" for value in orientation],
        "PixelSpacing": ["0.5", "0.5"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": array.shape[-2],
        "Columns": array.shape[-1],
        "BitsAllocated": 8 * array.dtype.itemsize,
        "BitsStored": 8 * array.dtype.itemsize,
        "HighBit": 8 * array.dtype.itemsize - 1,
        "PixelRepresentation": int(signed),
        "RescaleSlope": "1",
        "RescaleIntercept": "0",
        **attributes,
    }
    for name, value in elements.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = array.astype(array.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    dataset["PixelData"].VR = "OW"
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = elements["SOPClassUID"] or CT
    dataset.file_meta.MediaStorageSOPInstanceUID = elements["SOPInstanceUID"]
    if compression == "RLE":
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif compression is not None:
        _compress(dataset, array, compression, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        dataset.save_as(path, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.save_as(path, implicit_vr=implicit, little_endian=not big_endian)
    return path


def _compress(dataset: Any, array: np.ndarray, compression: str, path: Path) -> None:
    """Take the compressed pixels of a file that GDCM writes."""
    import pydicom
    import SimpleITK as sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("compressed.dcm")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(temporary))
    writer.UseCompressionOn()
    writer.SetCompressor(compression)
    writer.Execute(sitk.GetImageFromArray(array))
    compressed = pydicom.dcmread(temporary)
    temporary.unlink()
    dataset["PixelData"] = compressed["PixelData"]
    dataset.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID


def write_series(
    folder: Path,
    arrays: Sequence[np.ndarray],
    positions: Sequence[Sequence[float]] | None = None,
    orientation: Sequence[float] = AXIAL,
    **attributes: Any,
) -> list[Path]:
    """Write a series under names that say nothing of its order; 5 mm apart by default."""
    positions = positions or [(-10.0, -12.0, 5.0 * index) for index in range(len(arrays))]
    order = np.random.default_rng(0).permutation(len(arrays))
    return [
        write_dicom(
            folder / f"IM{order[index]:04d}",
            array,
            position,
            orientation,
            **{"InstanceNumber": index + 1, "SOPInstanceUID": f"1.2.3.4.{index + 1}", **attributes},
        )
        for index, (array, position) in enumerate(zip(arrays, positions, strict=True))
    ]
