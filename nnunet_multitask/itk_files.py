"""The formats that SimpleITK reads for us: NRRD, MetaImage and GIPL, each looked through before.

SimpleITK 2.5 reads a damaged stream in a MetaImage and a truncated GIPL file without a word, takes memory by the
header's word, and reads a negative spacing as positive. So size, spacing and the compressed stream are checked on the
bytes of the file first. Files without compression have no checksum: there a flipped bit cannot be seen.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.compression import check_gzip, check_size, check_zlib
from nnunet_multitask.errors import InputError
from nnunet_multitask.geometry import Affine, check_affine, check_spacing, spacing_of
from nnunet_multitask.storage import read_bytes

ENDINGS = (".nrrd", ".mha", ".gipl")

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes run to left and posterior, NIfTI's to right and anterior
_GIPL_HEADER_BYTES = 256
_GIPL_MAGIC = {struct.pack(">I", number) for number in (0xEFFFE9B0, 0x2AE389B8)}  # of both versions


def read_itk(path: Path) -> tuple[npt.NDArray[Any], Affine, str]:
    """Read an image in one of ``ENDINGS``.

    Returns:
        The voxels (Z, Y, X), the (4, 4) affine from voxel index (x, y, z) to RAS+ mm, and the SHA-256 of the file.

    Raises:
        InputError: damaged file, not 3-D, not real numbers, impossible spacing, sheared affine.
    """
    import SimpleITK as sitk

    raw = read_bytes(path)
    voxels = {".nrrd": _nrrd_voxels, ".mha": _mha_voxels, ".gipl": _gipl_voxels}[path.suffix](raw, path)
    with _refusing(path):
        reader = _information(path)
        components = reader.GetNumberOfComponents()
        if reader.GetDimension() != 3 or components != 1:
            fault = f"expected a 3-D image of one component, got {reader.GetDimension()} dimensions, {components}"
            raise InputError("not-3d", path, f"{fault} components", "give one file for each channel")
        size = int(np.prod(reader.GetSize(), dtype=object)) * _itemsize(reader, path)
        if size == 0:
            raise _bad(path, f"expected positive dimensions, got {reader.GetSize()}")
        voxels.check(voxels.stored, size, path)
        affine = _affine(reader)
        check_affine(affine, path)
        if not np.allclose(spacing_of(affine), reader.GetSpacing(), rtol=1e-4):
            fault = f"expected directions of length 1, got {reader.GetDirection()}"
            raise InputError("bad-affine", path, fault, "correct the header")
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path))), affine, hashlib.sha256(raw).hexdigest()


def read_affine(path: Path) -> Affine:
    """Return the geometry that SimpleITK, and so nnU-Net, reads from the header of any format it knows.

    Raises:
        InputError: SimpleITK cannot read it.
    """
    with _refusing(path):
        return _affine(_information(path))


def write_itk(array: npt.NDArray[Any], affine: Affine, path: Path) -> None:
    """Write an image in one of ``ENDINGS``, compressed where the format can be.

    Args:
        array: (Z, Y, X).
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm, without shear.
        path: the file.

    Raises:
        InputError: a type of voxels that the format does not know, or directions, which GIPL has none of.
    """
    import SimpleITK as sitk

    lps = _RAS_LPS @ affine
    spacing = spacing_of(lps)
    if path.suffix == ".gipl" and not np.allclose(lps[:3, :3], np.diag(spacing), atol=1e-6):
        fault = f"expected axes to left, posterior and superior, got {(lps[:3, :3] / spacing).tolist()}"
        raise InputError("unwritable-image", path, fault, "write .nii.gz: GIPL knows no other directions")
    try:
        image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        sitk.WriteImage(image, str(path), True)
    except (RuntimeError, TypeError, KeyError) as error:
        fault = f"expected a type of voxels that {path.suffix} knows, got {array.dtype}: {_last_line(error)}"
        raise InputError("unwritable-image", path, fault, "convert to int16 or float32") from error


@dataclass(frozen=True)
class _Voxels:
    """The voxels as they are stored, and what compares them with the number of bytes that they should make."""

    stored: bytes
    check: Callable[[bytes, int, Path], None]


def _check_raw(stored: bytes, size: int, path: Path) -> None:
    check_size(len(stored), size, path)


def _nrrd_voxels(raw: bytes, path: Path) -> _Voxels:
    if not raw.startswith(b"NRRD"):
        raise _bad(path, "expected an NRRD file, got another beginning")
    end = re.search(rb"\r?\n\r?\n", raw)
    fields = {key.lower(): value for key, value in _fields(raw[: end.start()] if end else raw, ":")}
    if end is None or {"data file", "datafile", "line skip", "byte skip"} & set(fields):
        raise _bad(path, "expected the voxels in the file, behind an empty line")
    vectors = [_numbers(vector) for vector in re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))]
    if vectors:
        check_spacing(np.array([np.linalg.norm(vector) for vector in vectors]), path)
    else:
        check_spacing(_numbers(fields.get("spacings", "")), path)
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("gz", "gzip", "raw"):
        raise _bad(path, f"expected the encoding gzip or raw, got {encoding}")
    return _Voxels(raw[end.end() :], _check_raw if encoding == "raw" else check_gzip)


def _mha_voxels(raw: bytes, path: Path) -> _Voxels:
    end = re.search(rb"ElementDataFile[^\n]*\n", raw)
    if end is None:
        raise _bad(path, "expected a MetaImage header, got another content")
    fields = dict(_fields(raw[: end.end()], "="))
    if fields["ElementDataFile"] != "LOCAL" or not _is_true(fields.get("BinaryData")):
        raise _bad(path, "expected binary voxels in the file")
    check_spacing(_numbers(fields.get("ElementSpacing", fields.get("ElementSize", ""))), path)
    stored = raw[end.end() :]
    if not _is_true(fields.get("CompressedData")):
        return _Voxels(stored, _check_raw)
    size = fields.get("CompressedDataSize", "")
    check_size(len(stored), int(size) if size.isdigit() else len(stored), path)
    return _Voxels(stored, check_zlib)


def _gipl_voxels(raw: bytes, path: Path) -> _Voxels:
    check_size(min(len(raw), _GIPL_HEADER_BYTES), _GIPL_HEADER_BYTES, path)
    if raw[252:256] not in _GIPL_MAGIC:
        raise _bad(path, "expected a GIPL file, got another magic number")
    check_spacing(np.array(struct.unpack_from(">3f", raw, 10)), path)
    return _Voxels(raw[_GIPL_HEADER_BYTES:], _check_raw)


def _fields(head: bytes, separator: str) -> Iterator[tuple[str, str]]:
    for line in head.decode("latin-1").splitlines():
        key, found, value = line.partition(separator)
        if found:
            yield key.strip(), value.strip()


def _is_true(value: str | None) -> bool:
    return value is not None and value[:1].lower() in ("t", "1")


def _numbers(text: str) -> npt.NDArray[np.float64]:
    try:
        return np.array([float(word) for word in text.replace(",", " ").split()] or [np.nan])
    except ValueError:
        return np.array([np.nan])


def _information(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    return reader


def _affine(reader: Any) -> Affine:
    dimension = reader.GetDimension()  # 4 where channels share a file
    lps = np.eye(4)
    lps[:3, :3] = (np.array(reader.GetDirection()).reshape(dimension, dimension) * reader.GetSpacing())[:3, :3]
    lps[:3, 3] = reader.GetOrigin()[:3]
    return np.asarray(_RAS_LPS @ lps)


def _itemsize(reader: Any, path: Path) -> int:
    import SimpleITK as sitk

    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())  # "16-bit signed integer", "32-bit float"
    bits, _, kind = name.partition("-bit ")
    if kind not in ("signed integer", "unsigned integer", "float"):
        raise InputError("bad-datatype", path, f"expected real numbers, got {name}", "convert to int16 or float32")
    return int(bits) // 8


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _bad(path, f"expected an image, got: {_last_line(error)}") from error


def _bad(path: Path, fault: str) -> InputError:
    return InputError("unreadable-image", path, fault, "export the file again")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
