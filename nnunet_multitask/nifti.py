"""NIfTI files, read strictly: every byte, every header field that nnU-Net's readers would guess."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import read_bytes

MAX_SPACING_MM = 50.0

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Nifti:
    """What a NIfTI file holds.

    Args:
        array: (Z, Y, X) in native byte order, with slope and intercept applied.
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm.
        sha256: of the file's bytes.
        warnings: qform and sform that disagree.
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    sha256: str
    warnings: tuple[InputError, ...]


def read_nifti(path: Path) -> Nifti:
    """Read a NIfTI-1 file to its last byte, so that gzip compares its checksum.

    SimpleITK reads a truncated file silently and the rest as zero; nibabel overlooks most flipped bits.

    Returns:
        Voxels and geometry: the sform, else the qform, else that of spacing alone.

    Raises:
        InputError: no such file, damaged gzip, wrong ending, impossible header, fewer bytes than the header says.
    """
    import nibabel

    raw = read_bytes(path)
    is_gzip = raw[:2] == b"\x1f\x8b"
    if is_gzip != path.name.endswith(".gz"):
        content = "gzip" if is_gzip else "no gzip"
        raise InputError(
            "wrong-ending", path, f"expected the content that the ending tells, got {content}", "rename it"
        )
    stream: io.BufferedIOBase = gzip.GzipFile(fileobj=io.BytesIO(raw)) if is_gzip else io.BytesIO(raw)
    try:
        head = stream.read(348)
        if len(head) < 348:
            raise InputError("bad-nifti", path, "expected a NIfTI-1 header of 348 bytes, got less", "export it again")
        header = nibabel.Nifti1Header(head, check=False)
        shape, dtype = _checked_header(header, path)
        offset = int(header["vox_offset"])
        expected_bytes = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
        content_bytes = _read_to_end(stream, head)  # to the end, so that gzip compares its checksum
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "damaged-gzip", path, f"expected a whole gzip file, got: {error}", "copy the file again"
        ) from error
    if len(content_bytes) < expected_bytes:
        fault = f"expected {expected_bytes} bytes by its header, got {len(content_bytes)}"
        raise InputError("truncated-nifti", path, fault, "copy the file again")
    array = np.frombuffer(content_bytes, dtype, int(np.prod(shape)), offset).reshape(shape, order="F").T
    array = array.astype(dtype.newbyteorder("="), copy=False)
    slope, intercept = header.get_slope_inter()
    if slope is not None and (slope, intercept) != (1, 0):
        array = array * np.float32(slope) + np.float32(intercept or 0)
    affine, warnings = _affine(header, path)
    return Nifti(array, affine, hashlib.sha256(raw).hexdigest(), warnings)


def write_nifti(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> None:
    """Write a NIfTI-1 file with qform and sform, both with code 1.

    Args:
        array: (Z, Y, X) of a type that NIfTI knows; kept.
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm, without shear.
        path: ends with ``.nii.gz`` or ``.nii``.
    """
    import nibabel

    image = nibabel.Nifti1Image(array.T, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nibabel.save(image, path)


def _read_to_end(stream: io.BufferedIOBase, head: bytes) -> bytearray:
    content = bytearray(head)
    while chunk := stream.read(_CHUNK_BYTES):
        content += chunk
    return content


def _checked_header(header: Any, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    def refuse(fault: str) -> InputError:
        return InputError("bad-nifti", path, fault, "export the file again")

    if int(header["sizeof_hdr"]) != 348 or bytes(header["magic"].item()).rstrip(b"\0") != b"n+1":
        raise refuse("expected a NIfTI-1 file, got another magic number")
    dims = [int(size) for size in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise refuse(f"expected positive dimensions, got {dims[1:]}")
    shape = tuple(dims[1 : dims[0] + 1])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(
            "not-3d", path, f"expected a 3-D image, got the shape {shape}", "give one file for each channel"
        )
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel's own error class is not public in every version
        raise refuse(f"expected a known datatype, got the code {int(header['datatype'])}") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError("bad-datatype", path, f"expected real numbers, got {dtype}", "convert to int16 or float32")
    if not np.isfinite(header["vox_offset"]) or header["vox_offset"] < 348:
        raise refuse(f"expected voxels after the header, got the offset {header['vox_offset']}")
    spacing = [float(value) for value in header["pixdim"][1:4]]
    if not all(0 < value <= MAX_SPACING_MM for value in spacing):  # False for NaN, too
        raise InputError(
            "bad-spacing",
            path,
            f"expected (x, y, z) spacing in 0 to {MAX_SPACING_MM:g} mm, got {spacing}",
            "correct it",
        )
    return shape, dtype


def _affine(header: Any, path: Path) -> tuple[npt.NDArray[np.float64], tuple[InputError, ...]]:
    warnings = []
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        difference = float(np.abs(header.get_sform() - _qform(header, path)).max())
        if difference > 1e-3:
            fault = f"expected equal qform and sform, they differ by {difference:.3g}; the sform was used"
            warnings.append(InputError("qform-sform", path, fault, "correct the header"))
    if header["sform_code"] > 0:
        return np.asarray(header.get_sform(), np.float64), tuple(warnings)
    if header["qform_code"] > 0:
        return _qform(header, path), ()
    return np.asarray(header.get_base_affine(), np.float64), ()


def _qform(header: Any, path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(header.get_qform(), np.float64)
    except Exception as error:  # a quaternion of impossible length; the error class is nibabel's own
        raise InputError(
            "bad-nifti", path, f"expected a unit quaternion, got: {error}", "export the file again"
        ) from error
