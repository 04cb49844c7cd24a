"""NIfTI files for the tests: sound ones, and the damaged ones that no reader of this project may accept.

``BAD_FILES`` are the inputs 1 to 13 of the bad inputs that every release must survive, each with the code of the
answer; use it as ``@pytest.mark.parametrize("bad", BAD_FILES, ids=str)``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SHAPE_XYZ = (4, 5, 3)
LPS = np.diag([-0.5, -0.6, 5.0, 1.0])  # axes to left, posterior, superior, as scanners write head CT


def oblique(degrees: float = 15.0) -> np.ndarray:
    """Return the affine of a scan with a gantry tilt written as rotation, (4, 4)."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ LPS[:3, :3]
    affine[:3, 3] = (10, -20, 30)
    return affine


def sheared() -> np.ndarray:
    """Return the affine of a scan with a gantry tilt written as shear, (4, 4)."""
    affine = LPS.copy()
    affine[1, 2] = 1.0
    return affine


def nifti_bytes(array: Any = None, affine: Any = None, qform: Any = None, **fields: Any) -> bytes:
    """Return an uncompressed NIfTI-1 file.

    Args:
        array: (X, Y, Z), by default 60 different int16 values.
        affine: (4, 4), written as sform and qform, both with code 1; ``LPS`` by default.
        qform: (4, 4), another affine for the qform.
        fields: header fields, written as they are, however wrong.
    """
    array = np.arange(60, dtype=np.int16).reshape(SHAPE_XYZ) if array is None else np.asarray(array)
    affine = LPS if affine is None else affine
    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_qform(affine if qform is None else qform, code=1)
    header.set_sform(affine, code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + b"\0\0\0\0" + array.tobytes(order="F")


def save_nifti(path: Path, array: Any = None, affine: Any = None, qform: Any = None, **fields: Any) -> Path:
    """Write what ``nifti_bytes`` returns, compressed where the ending asks for it."""
    content = nifti_bytes(array, affine, qform, **fields)
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
    return path


def flip_bit(path: Path, byte: int, bit: int = 0) -> None:
    """Flip one bit of a file; negative bytes count from the end."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def cut(path: Path, keep: float) -> None:
    """Cut a file to a share of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@dataclass(frozen=True)
class BadFile:
    """One bad input.

    Args:
        number: of the input among the bad inputs.
        name: what is bad.
        code: of the ``InputError`` that answers it.
        write: writes it (or leaves it out) at the path of an image or a mask of 4 x 5 x 3 voxels.
        ending: of the path.
    """

    number: int
    name: str
    code: str
    write: Callable[[Path], object]
    ending: str = ".nii.gz"

    def __str__(self) -> str:
        return f"{self.number}-{self.name}{self.ending}"


def _noise(path: Path) -> Path:
    return save_nifti(path, np.random.default_rng(0).integers(0, 2, SHAPE_XYZ).astype(np.int16))


def _truncated(path: Path) -> None:
    cut(_noise(path), 0.9)


def _flipped_bit(path: Path) -> None:
    path.write_bytes(gzip.compress(nifti_bytes(), compresslevel=0))
    flip_bit(path, -20)  # a voxel, readable as before


def _wrong_ending(path: Path) -> None:
    content = nifti_bytes()
    path.write_bytes(content if path.name.endswith(".gz") else gzip.compress(content))


def _link_loop(path: Path) -> None:
    path.symlink_to(path)


def _endless(path: Path) -> None:
    path.write_bytes(gzip.compress(nifti_bytes() + bytes(30_000_000), compresslevel=1))


def _with_voxel(value: float) -> Callable[[Path], object]:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[3, 1, 2] = value
    return lambda path: save_nifti(path, array)


def _with(array: Any = None, affine: Any = None, **fields: Any) -> Callable[[Path], object]:
    return lambda path: save_nifti(path, array, affine, **fields)


def _with_shape(*shape: int) -> Callable[[Path], object]:
    return _with(dim=[len(shape), *shape, *[1] * (7 - len(shape))])


def _with_spacing(value: float) -> Callable[[Path], object]:
    return _with(pixdim=[1, value, 0.6, 5, 0, 0, 0, 0])


_RGB = np.zeros(SHAPE_XYZ, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))

BAD_FILES = (
    BadFile(1, "truncated", "damaged-gzip", _truncated),
    BadFile(2, "flipped bit", "damaged-gzip", _flipped_bit),
    BadFile(3, "shorter than its header says", "truncated-file", lambda path: cut(_noise(path), 0.99), ".nii"),
    BadFile(4, "empty file", "empty-file", Path.touch),
    BadFile(4, "text file", "wrong-ending", lambda path: path.write_text("no image at all " * 40)),
    BadFile(4, "text file", "bad-nifti", lambda path: path.write_text("no image at all " * 40), ".nii"),
    BadFile(4, "folder", "unreadable-file", Path.mkdir),
    BadFile(4, "missing file", "missing-file", lambda path: None),
    BadFile(4, "link loop", "unreadable-file", _link_loop),
    BadFile(5, "plain NIfTI", "wrong-ending", _wrong_ending),
    BadFile(5, "gzip", "wrong-ending", _wrong_ending, ".nii"),
    BadFile(6, "header of 32767 cubed", "truncated-file", _with_shape(32767, 32767, 32767)),
    BadFile(6, "header of 32767 cubed", "truncated-file", _with_shape(32767, 32767, 32767), ".nii"),
    BadFile(6, "longer than its header says", "oversized-file", _endless),
    BadFile(7, "negative dimension", "bad-nifti", _with_shape(-4, 5, 3)),
    BadFile(7, "zero dimension", "bad-nifti", _with_shape(4, 0, 3)),
    BadFile(7, "unknown datatype", "bad-nifti", _with(datatype=999)),
    BadFile(7, "bad magic", "bad-nifti", _with(magic=b"xyz")),
    BadFile(8, "spacing 0", "bad-spacing", _with_spacing(0.0)),
    BadFile(8, "spacing NaN", "bad-spacing", _with_spacing(np.nan)),
    BadFile(8, "spacing negative", "bad-spacing", _with_spacing(-0.5)),
    BadFile(8, "spacing above 50 mm", "bad-spacing", _with_spacing(50.5)),
    BadFile(9, "NaN voxel", "not-finite", _with_voxel(np.nan)),
    BadFile(9, "infinite voxel", "not-finite", _with_voxel(np.inf)),
    BadFile(10, "NaN in a mask", "not-finite", _with_voxel(np.nan)),
    BadFile(11, "2-D", "not-3d", _with_shape(20, 3)),
    BadFile(11, "4-D", "not-3d", _with_shape(2, 2, 5, 3)),
    BadFile(11, "RGB", "bad-datatype", _with(_RGB)),
    BadFile(11, "complex", "bad-datatype", _with(np.zeros(SHAPE_XYZ, np.complex64))),
    BadFile(12, "sheared affine", "sheared-affine", _with(affine=sheared(), qform_code=0)),
)

# 13 is a warning: a file that is read
QFORM_SFORM_DIFFER = BadFile(
    13, "qform and sform differ", "qform-sform", lambda path: save_nifti(path, affine=LPS, qform=oblique())
)
