"""What the header of a DICOM file says of the slice in it, and which files hold no slice of a volume at all."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import read_bytes

IMAGE_CLASSES = {  # SOP classes with one slice a file
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
}

_TAGS = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID SeriesNumber InstanceNumber AcquisitionNumber Modality ImageType "
    "Rows Columns SamplesPerPixel NumberOfFrames PixelSpacing SliceThickness ImagePositionPatient "
    "ImageOrientationPatient GantryDetectorTilt ConvolutionKernel RescaleType PatientID StudyInstanceUID PixelData"
).split()
_DEFERRED_BYTES = 4096  # longer values are left on the disk while headers are read
_ORIENTATION_TOLERANCE = 1e-3  # of the two direction cosines, from unit length and right angle


@dataclass(frozen=True)
class SliceHeader:
    """One file with one slice.

    Args:
        path: the file.
        series_uid, instance_uid: UIDs of the series and of this image.
        modality: ``CT`` for example.
        shape: rows and columns.
        pixel_spacing_mm: distance between rows, and between columns.
        position_mm: (3,) centre of the first pixel, LPS+ mm (ImagePositionPatient).
        orientation: (6,) direction of a row, then of a column, LPS+, unit vectors at right angles.
        instance_number, acquisition_number, series_number: None where absent.
        slice_thickness_mm, gantry_tilt_degrees: as the header says, None where absent.
        kernel: of the reconstruction, empty where absent.
        unit: of the rescaled values (RescaleType), ``HU`` or empty as a rule in CT.
        patient_id, study_uid: for comparison with a list of patients; never written anywhere.
    """

    path: Path
    series_uid: str
    instance_uid: str
    modality: str
    shape: tuple[int, int]
    pixel_spacing_mm: tuple[float, float]
    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    instance_number: int | None = None
    acquisition_number: int | None = None
    series_number: int | None = None
    slice_thickness_mm: float | None = None
    gantry_tilt_degrees: float | None = None
    kernel: str = ""
    unit: str = ""
    patient_id: str = ""
    study_uid: str = ""

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector at right angles to the slice, (3,), LPS+: upwards in an axial slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])


class NoSlice(InputError):
    """A file that is no fault, but holds no slice of a volume: a localizer, a report, a photograph, another file.

    Args:
        code, where, fault, remedy: as in InputError.
        series_uid: of the file; empty where it has none.
    """

    def __init__(self, code: str, where: str | Path, fault: str, remedy: str, series_uid: str = "") -> None:
        super().__init__(code, where, fault, remedy)
        self.args = (*self.args, series_uid)  # so that it pickles
        self.series_uid = series_uid


def read_header(path: Path, modalities: Sequence[str] = ("CT",)) -> SliceHeader:
    """Read the header of a DICOM file, whatever its name; the pixels stay on the disk.

    Args:
        path: the file.
        modalities: which are wanted.

    Returns:
        What the file says of its slice.

    Raises:
        NoSlice: no DICOM file, no image, several frames, colours, a localizer, a derived picture, another modality.
        InputError: a slice that cannot be placed: truncated in the header, without or with an impossible geometry.
    """
    with quiet_pydicom():
        dataset = _read_dataset(path)
        try:
            return _checked_slice(dataset, path, modalities)
        except InputError:
            raise
        except Exception as error:  # pydicom converts a value when it is asked for, and raises whatever that leads to
            raise _bad_dicom(path, error) from error


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning of values that nobody asked for, and of files that are refused by name anyway."""
    import pydicom

    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _checked_slice(dataset: Any, path: Path, modalities: Sequence[str]) -> SliceHeader:
    meta = getattr(dataset, "file_meta", {})
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    series_uid = str(dataset.get("SeriesInstanceUID") or "")
    modality = str(dataset.get("Modality") or IMAGE_CLASSES.get(sop_class, ""))
    if "PixelData" not in dataset:
        name = _class_name(sop_class)
        if "Image" in name or not (name or series_uid):  # a cut file may lack anything behind the cut
            fault = f"expected the pixels of {name or 'an image'}, the file ends before them"
            raise InputError("truncated-dicom", path, fault, "copy the file again")
        raise _no_slice("no-image", path, f"it holds no image but {name or modality or sop_class}", series_uid)
    if {"LOCALIZER", "SCOUT", "TOPOGRAM"} & {str(word).upper() for word in _listed(dataset.get("ImageType"))}:
        raise _no_slice("localizer", path, "it is a localizer", series_uid)
    if (_optional(dataset, "SamplesPerPixel", int) or 1) != 1:
        raise _no_slice("colour-image", path, "it is in colours, as screen shots and reports are", series_uid)
    if (_optional(dataset, "NumberOfFrames", int) or 1) != 1:
        fault = "it holds several frames in one file; export it as one slice a file"
        raise _no_slice("multi-frame", path, fault, series_uid)
    if sop_class and sop_class not in IMAGE_CLASSES:
        raise _no_slice("no-slice", path, f"it holds {_class_name(sop_class) or modality or sop_class}", series_uid)
    if modality not in modalities:
        fault = f"its modality is {modality or 'not given'}, wanted is {', '.join(modalities)}"
        raise _no_slice("other-modality", path, fault, series_uid)
    if "ImagePositionPatient" not in dataset and "ImageOrientationPatient" not in dataset:
        raise _no_slice("no-position", path, "its header has no position in the patient", series_uid)
    return _slice_header(dataset, path, series_uid, modality)


def _read_dataset(path: Path) -> Any:
    import pydicom

    head = read_bytes(path, limit=132)
    is_dicom = head[128:132] == b"DICM"
    # files of old archives lack the preamble and begin with group 0008
    if not is_dicom and head[:2] not in (b"\x08\x00", b"\x00\x08"):
        raise _no_slice("not-dicom", path, "no DICOM file")
    try:
        dataset = pydicom.dcmread(path, defer_size=_DEFERRED_BYTES, force=True, specific_tags=list(_TAGS))
    except Exception as error:  # pydicom raises whatever a damaged element leads to
        if is_dicom:
            raise _bad_dicom(path, error) from error
        dataset = pydicom.FileDataset(path, {})
    if not is_dicom and "SOPClassUID" not in dataset:
        raise _no_slice("not-dicom", path, "no DICOM file")
    return dataset


def _slice_header(dataset: Any, path: Path, series_uid: str, modality: str) -> SliceHeader:
    spacing = _numbers(dataset, "PixelSpacing", 2, path)
    position = _numbers(dataset, "ImagePositionPatient", 3, path)
    orientation = np.array(_numbers(dataset, "ImageOrientationPatient", 6, path))
    if min(spacing) <= 0:
        raise _bad_geometry(path, f"expected a positive PixelSpacing, got {list(spacing)}")
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > _ORIENTATION_TOLERANCE:
        fault = f"expected two unit vectors at right angles in ImageOrientationPatient, got {orientation.tolist()}"
        raise _bad_geometry(path, fault)
    row = row / lengths[0]
    column = column - (column @ row) * row  # headers round to a few digits: exactly at right angles again
    column /= np.linalg.norm(column)
    rows, columns = int(dataset.Rows), int(dataset.get("Columns") or 0)
    if not series_uid:
        raise _bad_geometry(path, "expected a SeriesInstanceUID, found none")
    return SliceHeader(
        path=path,
        series_uid=series_uid,
        instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        modality=modality,
        shape=(rows, columns),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        position_mm=(position[0], position[1], position[2]),
        orientation=tuple(float(value) for value in (*row, *column)),
        instance_number=_optional(dataset, "InstanceNumber", int),
        acquisition_number=_optional(dataset, "AcquisitionNumber", int),
        series_number=_optional(dataset, "SeriesNumber", int),
        slice_thickness_mm=_optional(dataset, "SliceThickness", float),
        gantry_tilt_degrees=_optional(dataset, "GantryDetectorTilt", float),
        kernel="/".join(str(word) for word in _listed(dataset.get("ConvolutionKernel"))),
        unit=str(dataset.get("RescaleType") or ""),
        patient_id=str(dataset.get("PatientID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
    )


def _numbers(dataset: Any, name: str, count: int, path: Path) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in _listed(dataset.get(name)))
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not np.isfinite(values).all():
        raise _bad_geometry(path, f"expected {count} numbers in {name}, got {dataset.get(name)!s:.80}")
    return values


def _optional(dataset: Any, name: str, kind: type) -> Any:
    try:
        return kind(dataset.get(name))
    except (TypeError, ValueError):
        return None


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (str, int, float)) else list(value)


def _class_name(sop_class: str) -> str:
    """Return the name that the standard gives a kind of object, or an empty text where it knows none."""
    from pydicom.uid import UID

    name = UID(sop_class).name
    return "" if name == sop_class else name


def _bad_dicom(path: Path, error: Exception) -> InputError:
    return InputError("bad-dicom", path, f"expected a DICOM header, got: {error}", "export the file again")


def _bad_geometry(path: Path, fault: str) -> InputError:
    return InputError("bad-dicom-geometry", path, fault, "export the series again, or move the file away")


def _no_slice(code: str, path: Path, fault: str, series_uid: str = "") -> NoSlice:
    return NoSlice(code, path, fault, "leave it out", series_uid)
