"""NIfTI files, read strictly: every byte, every header field that nnU-Net's readers would guess."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import read_bytes

logger = logging.getLogger(__name__)

MAX_SPACING_MM = 50.0

_CHUNK_BYTES = 1 << 20


def read_nifti(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Read a NIfTI-1 file to its last byte, so that gzip compares its checksum.

    SimpleITK reads a truncated file silently and the rest as zero; nibabel overlooks most flipped bits.

    Returns:
        The voxels, (Z, Y, X) in native byte order with slope and intercept applied, and the (4, 4) affine from voxel
        index (x, y, z) to RAS+ mm: the sform, else the qform, else that of spacing alone.

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
    return array, _affine(header, path)


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


def _affine(header: Any, path: Path) -> npt.NDArray[np.float64]:
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        difference = float(np.abs(header.get_sform() - _qform(header, path)).max())
        if difference > 1e-3:
            logger.warning("WARN [qform-sform] %s: they differ by %.3g; the sform was used", path, difference)
    if header["sform_code"] > 0:
        return np.asarray(header.get_sform(), np.float64)
    return _qform(header, path) if header["qform_code"] > 0 else np.asarray(header.get_base_affine(), np.float64)


def _qform(header: Any, path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(header.get_qform(), np.float64)
    except Exception as error:  # a quaternion of impossible length; the error class is nibabel's own
        raise InputError(
            "bad-nifti", path, f"expected a unit quaternion, got: {error}", "export the file again"
        ) from error
