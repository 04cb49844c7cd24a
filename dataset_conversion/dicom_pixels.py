"""The pixels of a DICOM slice in Hounsfield units: decoded, signed as they are, rescaled, padding made air."""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.dicom_headers import quiet_pydicom
from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import read_bytes

AIR_HU = -1000
LOWEST_HU = -1024  # below it lies no tissue: scanners fill what is outside their field of view with such values

_MISDECLARED_INTERCEPT = -100  # unsigned values and an intercept above this cannot express air
_BORDER_AIR_HU = -500


@dataclass(frozen=True)
class Slice:
    """The pixels of one slice.

    Args:
        array: (rows, columns); int16 HU for CT, else int32 or float32 as the rescaled values need.
        sha256: of the bytes of the file, hexadecimal.
        slope, intercept: of the rescaling that was applied.
        outside_pixels: pixels that were padding, or below -1024 HU in CT, and are air now (0 in other modalities).
        sign_repaired: the pixels were signed, but declared as unsigned.
        clipped_pixels: above the range of int16 (metal), now 32767.
    """

    array: npt.NDArray[Any]
    sha256: str
    slope: float
    intercept: float
    outside_pixels: int = 0
    sign_repaired: bool = False
    clipped_pixels: int = 0


def read_slice(path: Path, modality: str = "CT") -> Slice:
    """Read the pixels of a slice.

    Any transfer syntax that GDCM knows is decoded: native, RLE, JPEG and JPEG lossless, JPEG-LS, JPEG 2000. Stored
    values are cut to BitsStored and given their sign, padding (PixelPaddingValue, with its range limit) is found among
    the stored values, then slope and intercept of this very slice apply.

    Some archives hold signed values declared as unsigned, with an intercept that leaves no value for air (known of a
    part of the RSNA 2019 files). Such a CT slice is read as signed where that makes its border air.

    Args:
        path: the file, one slice with one sample a pixel.
        modality: ``CT`` gives Hounsfield units.

    Returns:
        The pixels and what was done to them.

    Raises:
        InputError: fewer pixels than the header says, pixels that cannot be decoded, an impossible slope, a table in
            place of slope and intercept.
    """
    import pydicom

    content = read_bytes(path)
    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            if "ModalityLUTSequence" in dataset:
                fault = "expected slope and intercept, got a table of values (ModalityLUTSequence)"
                raise InputError("bad-rescale", path, fault, "export the series with slope and intercept")
            stored = _stored_bits(dataset, path)
            slope, intercept = _number(dataset, "RescaleSlope", 1), _number(dataset, "RescaleIntercept", 0)
            bits, signed = _bits(dataset), dataset.PixelRepresentation == 1
            padding = _padding(stored, dataset)
        except InputError:
            raise
        except Exception as error:  # pydicom and GDCM raise whatever a damaged element leads to
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            fault = f"expected pixels that can be decoded, got: {reason}"
            raise InputError("bad-dicom", path, fault, "export the file again") from error
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        fault = f"expected a finite RescaleSlope other than 0 and intercept, got {slope} and {intercept}"
        raise InputError("bad-rescale", path, fault, "export the file again")
    values = _signed(stored, bits) if signed else stored.astype(np.int64)
    sign_repaired = False
    if modality == "CT" and not signed and bits < 32 and intercept > _MISDECLARED_INTERCEPT:
        wrapped = _signed(stored, bits)
        if _border_median(wrapped * slope + intercept) < _BORDER_AIR_HU < _border_median(values * slope + intercept):
            values, sign_repaired = wrapped, True
    return _rescaled(values, padding, slope, intercept, hashlib.sha256(content).hexdigest(), modality, sign_repaired)


def _rescaled(
    values: npt.NDArray[np.int64],
    padding: npt.NDArray[np.bool_],
    slope: float,
    intercept: float,
    sha256: str,
    modality: str,
    sign_repaired: bool,
) -> Slice:
    scaled = values * slope + intercept
    if modality != "CT":
        scaled[padding] = 0
        integral = slope.is_integer() and intercept.is_integer() and np.abs(scaled).max() < 2**31
        array = scaled.astype(np.int32 if integral else np.float32)
        return Slice(array, sha256, slope, intercept, int(np.count_nonzero(padding)))
    outside = padding | (scaled < LOWEST_HU)
    scaled[outside] = AIR_HU
    highest = np.iinfo(np.int16).max
    clipped = int(np.count_nonzero(scaled > highest))
    array = np.rint(np.minimum(scaled, highest)).astype(np.int16)
    return Slice(array, sha256, slope, intercept, int(np.count_nonzero(outside)), sign_repaired, clipped)


def _stored_bits(dataset: Any, path: Path) -> npt.NDArray[np.uint32]:
    """Return the stored values as unsigned numbers of BitsStored bits, (rows, columns)."""
    rows, columns, allocated = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    if allocated not in (8, 16, 32):
        raise InputError("bad-dicom", path, f"expected 8, 16 or 32 bits a pixel, got {allocated}", "export it again")
    if dataset.get("PixelData") is None:
        fault = "expected pixels, the file ends before or within them"
        raise InputError("truncated-dicom", path, fault, "copy the file again")
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is not None and syntax.is_encapsulated:
        words = _decompressed(dataset)
    else:
        expected = rows * columns * allocated // 8
        if len(dataset.PixelData) < expected:
            fault = f"expected {expected} bytes of pixels, the file ends after {len(dataset.PixelData)}"
            raise InputError("truncated-dicom", path, fault, "copy the file again")
        order = "<" if dataset.original_encoding[1] else ">"
        words = np.frombuffer(dataset.PixelData, f"{order}u{allocated // 8}", rows * columns).reshape(rows, columns)
    if words.shape != (rows, columns):
        fault = f"expected {rows} rows and {columns} columns, got pixels of {words.shape}"
        raise InputError("bad-dicom", path, fault, "export the file again")
    shift = int(dataset.get("HighBit", _bits(dataset) - 1)) + 1 - _bits(dataset)
    shifted = words.astype(np.uint32) >> np.uint32(max(shift, 0))
    return np.bitwise_and(shifted, np.uint32(2 ** _bits(dataset) - 1), dtype=np.uint32)


def _decompressed(dataset: Any) -> npt.NDArray[Any]:
    """Decode compressed pixels by the GDCM inside SimpleITK, under a header of the pixels alone.

    GDCM rescales by rules of its own, which depend on the kind of object. Without slope and intercept in the header it
    returns what is stored.
    """
    import pydicom
    import SimpleITK as sitk

    bare = pydicom.Dataset()
    bare.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    bare.SOPInstanceUID = "2.25.1"
    for name in (
        "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation"
    ).split():
        if name in dataset:
            bare[name] = dataset[name]
    bare["PixelData"] = dataset["PixelData"]
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pixels.dcm")
        bare.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        array = sitk.GetArrayFromImage(reader.Execute())
    array = array.reshape(array.shape[-2:])
    return array.view(f"u{array.dtype.itemsize}")


def _bits(dataset: Any) -> int:
    return int(dataset.get("BitsStored") or dataset.BitsAllocated)


def _signed(stored: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.int64]:
    values = stored.astype(np.int64)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values)


def _padding(stored: npt.NDArray[np.uint32], dataset: Any) -> npt.NDArray[np.bool_]:
    """Return which stored values are padding; compared as bits, since headers often give the value another sign."""
    ends = [_integer(dataset.get(name)) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(stored.shape, bool)
    bits = _bits(dataset)
    declared = np.array([end & (2**bits - 1) for end in ends if end is not None], np.uint32)
    if dataset.PixelRepresentation == 1:
        values, limits = _signed(stored, bits), _signed(declared, bits)
    else:
        values, limits = stored.astype(np.int64), declared.astype(np.int64)
    return (values >= limits.min()) & (values <= limits.max())


def _integer(value: Any) -> int | None:
    if isinstance(value, bytes):  # a VR that pydicom could not resolve
        return int.from_bytes(value[:2], "little")
    return None if value in (None, "") else int(value)


def _number(dataset: Any, name: str, default: float) -> float:
    value = dataset.get(name)
    return default if value in (None, "") else float(value)


def _border_median(values: npt.NDArray[Any]) -> float:
    edges = (values[0], values[-1], values[:, 0], values[:, -1])
    return float(np.median(np.concatenate(edges)))
