"""NIfTI-1 files, read strictly: every byte, every header field that other readers would guess.

SimpleITK 2.5 reads a truncated file silently and the rest as zero, a spacing of zero or NaN as 1.0 and a voxel that is
not finite as 0; nibabel 5.4 overlooks most flipped bits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.compression import FAST, SMALL, check_size, gunzip, gunzip_start, take_memory, write_gzip
from nnunet_multitask.errors import InputError
from nnunet_multitask.nifti_geometry import affine_of, set_geometry
from nnunet_multitask.storage import read_bytes

ENDINGS = (".nii.gz", ".nii")

_HEADER_BYTES = 348
_NIFTI_2_HEADER_BYTES = 540
_MAX_DIMENSION = 32767
_TYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float32", "float64"}


@dataclass(frozen=True)
class Nifti:
    """What a NIfTI file holds.

    Args:
        array: (Z, Y, X), or (C, Z, Y, X) of a 4-D file, in native byte order, with slope and intercept applied.
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm.
        sha256: of the file's bytes.
        warnings: what is doubtful about the header.
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    sha256: str
    warnings: tuple[InputError, ...]


def read_nifti(path: Path, dimensions: int = 3) -> Nifti:
    """Read a NIfTI-1 file to its last byte and compare checksum and size.

    Args:
        path: ends with ``.nii.gz`` or ``.nii``.
        dimensions: 3, or 4 for several channels in one file.

    Raises:
        InputError: no such file, damaged gzip, wrong ending, impossible header, more or fewer bytes than it says.
    """
    import nibabel

    start = read_bytes(path, limit=_HEADER_BYTES)
    is_gzip = start[:2] == b"\x1f\x8b"
    if is_gzip != path.name.endswith(".gz"):
        found = "gzip" if is_gzip else "no gzip"
        fault = f"expected the content that the ending tells, got {found}"
        plain = path.name.removesuffix(".gz")
        remedy = f"export the file again, or rename it to {plain} if it is an uncompressed NIfTI"
        if is_gzip:
            remedy = f"rename it to {path.name}.gz"
        raise InputError("wrong-ending", path, fault, remedy)
    packed = read_bytes(path) if is_gzip else b""
    if is_gzip:
        start = gunzip_start(packed, _HEADER_BYTES, path)
    if len(start) < _HEADER_BYTES:
        fault = f"expected a NIfTI-1 header of {_HEADER_BYTES} bytes, got {len(start)}"
        raise InputError("bad-nifti", path, fault, "export the file again")
    header = nibabel.Nifti1Header(start, check=False)
    shape, dtype, offset = _checked_layout(header, path, dimensions)
    slope, intercept = _checked_scaling(header, path)
    size = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    content = gunzip(packed, size, path) if is_gzip else _read_plain(path, size)
    digest = hashlib.sha256(packed or content.data).hexdigest()
    affine, warnings = affine_of(header, path)
    array: npt.NDArray[Any] = content[offset:].view(dtype).reshape(shape[::-1])
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder())
    if (slope, intercept) != (1, 0):
        array = array.astype(np.result_type(array.dtype, np.float32), copy=False)
        with np.errstate(over="ignore"):  # what overflows is found with the voxels that are not finite
            array *= slope
            array += intercept
    return Nifti(array, affine, digest, warnings)


def write_nifti(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> None:
    """Write a NIfTI-1 file with qform and sform, both with code 1, in millimetres.

    Args:
        array: (Z, Y, X) of integers or floats, which NIfTI stores as they are, or of bool, stored as uint8.
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm, without shear.
        path: ends with ``.nii.gz`` or ``.nii``; equal content gives equal bytes.

    Raises:
        InputError: a type of voxels or a shape that NIfTI-1 does not know.
    """
    import nibabel

    dtype = np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("=")
    header = nibabel.Nifti1Header()
    if array.ndim != 3 or not 0 < min(array.shape) <= max(array.shape) <= _MAX_DIMENSION or dtype.name not in _TYPES:
        fault = f"expected a shape and a type that NIfTI-1 knows, got {array.shape} {array.dtype}"
        raise InputError("unwritable-image", path, fault, "convert to int16 or float32, crop what is larger")
    header.set_data_dtype(dtype)
    header.set_data_shape(array.shape[::-1])
    set_geometry(header, affine)
    header["magic"] = b"n+1"
    header["vox_offset"] = _HEADER_BYTES + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    no_extension = b"\0\0\0\0"
    voxels = np.ascontiguousarray(array, dtype)
    with path.open("wb") as file:
        if path.name.endswith(".gz"):
            level = SMALL if dtype.itemsize == 1 else FAST
            write_gzip([header.binaryblock, no_extension, voxels.data], file, level)
        else:
            file.writelines([header.binaryblock, no_extension, voxels.data])


def _read_plain(path: Path, size: int) -> npt.NDArray[np.uint8]:
    check_size(path.stat().st_size, size, path)
    content = take_memory(size, path)
    with path.open("rb") as file:
        check_size(file.readinto(content.data), size, path)
    return content


def _checked_layout(header: Any, path: Path, dimensions: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape (x, y, z) or (x, y, z, channel), type and place of the voxels."""

    def refuse(fault: str) -> InputError:
        return InputError("bad-nifti", path, fault, "export the file again")

    header_bytes, magic = int(header["sizeof_hdr"]), bytes(header["magic"].item()).rstrip(b"\0")
    if header_bytes == _NIFTI_2_HEADER_BYTES:
        raise refuse("expected a NIfTI-1 file, got NIfTI-2")
    if header_bytes != _HEADER_BYTES or magic != b"n+1":
        raise refuse("expected a NIfTI-1 file, got another magic number")
    dims = [int(size) for size in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise refuse(f"expected positive dimensions, got {dims[1:]}")
    shape = tuple(dims[1 : dims[0] + 1])
    while len(shape) > dimensions and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != dimensions:
        fault = f"expected a {dimensions}-D image, got the shape {shape}"
        remedy = "give one file for each channel" if dimensions == 3 else "give one file for each case"
        raise InputError(f"not-{dimensions}d", path, fault, remedy)
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel's own error class is not public in every version
        raise refuse(f"expected a known datatype, got the code {int(header['datatype'])}") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError("bad-datatype", path, f"expected real numbers, got {dtype}", "convert to int16 or float32")
    offset = float(header["vox_offset"])
    if not (_HEADER_BYTES <= offset <= np.iinfo(np.int32).max and offset.is_integer()):
        raise refuse(f"expected voxels after the header, got the offset {header['vox_offset']}")
    return shape, dtype, int(offset)


def _checked_scaling(header: Any, path: Path) -> tuple[np.float32, np.float32]:
    """Return slope and intercept; a slope of 0 or NaN means that voxels are what they are."""
    slope, intercept = np.float32(header["scl_slope"]), np.float32(header["scl_inter"])
    if (slope == 0 and intercept == 0) or np.isnan(slope):
        return np.float32(1), np.float32(0)
    if slope == 0 or not np.isfinite([slope, intercept]).all():  # readers guess, each in its way
        fault = f"expected a finite slope other than 0 and a finite intercept, got {slope} and {intercept}"
        raise InputError("bad-scaling", path, fault, "export the file again")
    return slope, intercept
