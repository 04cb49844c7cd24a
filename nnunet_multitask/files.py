"""Opening and writing images and masks, with every check that nnU-Net leaves out."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask import itk_files, nifti
from nnunet_multitask.boxes import Box, bounding_box
from nnunet_multitask.errors import InputError
from nnunet_multitask.geometry import check_affine, corners_mm, spacing_of
from nnunet_multitask.storage import atomic_file

ENDINGS = (*nifti.ENDINGS, *itk_files.ENDINGS)

MASK_ROUNDING = 1e-3  # float masks this near to an integer are repaired
TOLERANCE_MM = 1e-3  # between corresponding corners of one and the same grid

_MAX_LISTED = 10


@dataclass(frozen=True)
class Volume:
    """One image or mask.

    Args:
        array: (Z, Y, X), the order in which nnU-Net's SimpleITKIO reads it.
        spacing_mm: distance of voxel centres along (z, y, x).
        affine: (4, 4), voxel index (x, y, z) to RAS+ millimetres, as in NIfTI; the geometry that SimpleITK reads.
        path: where it was read.
        repaired_voxels: voxels of a float mask that were rounded to the integer beside them.
        sha256: of the bytes of the file at ``path``, hexadecimal; empty where the volume was never a file.
        changed: array or affine are no longer what the file at ``path`` holds.
        warnings: what is doubtful about the file, such as a qform and an sform that disagree.
    """

    array: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    path: Path
    repaired_voxels: int = 0
    sha256: str = ""
    changed: bool = False
    warnings: tuple[InputError, ...] = ()

    def corners_mm(self) -> npt.NDArray[np.float64]:
        """Return the centres of the eight corner voxels in RAS+ millimetres, (8, 3)."""
        return corners_mm(self.array.shape, self.affine)

    @cached_property
    def held_box(self) -> Box | None:
        """The smallest box around the voxels that are not 0, looked for once; None where all are."""
        return bounding_box(self.array)


def read_image(path: str | Path) -> Volume:
    """Read a 3-D image and refuse what nnU-Net would misread.

    Compressed files are read to their end, with checksum and size, before their voxels are used.

    Args:
        path: a file with one of ``ENDINGS``.

    Returns:
        The volume; integer types are kept, scaled images are float32 or float64.

    Raises:
        InputError: damaged file, unknown type, not 3-D, impossible spacing, sheared affine, voxels that are not finite.
    """
    volume = _read_volume(Path(path))
    _check_finite(volume)
    return volume


def read_channels(path: str | Path) -> tuple[Volume, ...]:
    """Read a 4-D image and return its channels, each with ``changed`` set.

    Args:
        path: a NIfTI file of the shape (x, y, z, channel), as the Medical Decathlon has them.

    Raises:
        InputError: as for ``read_image``; also an image that is not 4-D, or no NIfTI.
    """
    path = Path(path)
    if not _is_nifti(path):
        fault = f"expected several channels in one of {', '.join(nifti.ENDINGS)}, got {path.name}"
        raise InputError("not-4d", path, fault, "give one file for each channel")
    _check_is_no_device(path)
    content = nifti.read_nifti(path, dimensions=4)
    whole = _volume(content.array, content.affine, path)
    channels = tuple(
        replace(whole, array=part, sha256=content.sha256, warnings=content.warnings, changed=True)
        for part in content.array
    )
    for channel in channels:
        _check_finite(channel)
    return channels


def read_mask(path: str | Path, allowed_labels: Collection[int] | None = None) -> Volume:
    """Read a 3-D mask of integers.

    Float values within 1e-3 of an integer are repaired and counted in ``repaired_voxels``; ``changed`` is set then.

    Args:
        path: a file with one of ``ENDINGS``.
        allowed_labels: the values that may occur, background among them; None allows every value from 0 on.

    Returns:
        The volume with an array of an integer type. An empty mask is valid.

    Raises:
        InputError: as for ``read_image``; also values that are no integers, negative, or not allowed.
    """
    volume = _read_volume(Path(path))
    if not np.issubdtype(volume.array.dtype, np.integer):
        _check_finite(volume, "export the mask again, or replace them by the value of their label, 0 for background")
        array, repaired = _rounded(volume)
        volume = replace(volume, array=array, repaired_voxels=repaired, changed=repaired > 0)
    known = None if allowed_labels is None else set(allowed_labels)
    unknown = [
        f"{value} ({count} voxels)"
        for value, count in _count_values(volume.array, volume.held_box).items()
        if value < 0 or (known is not None and value not in known)
    ]
    if unknown:
        expected = "values from 0 on" if known is None else f"the values {sorted(known)}"
        more = f" and {len(unknown) - _MAX_LISTED} more values" if len(unknown) > _MAX_LISTED else ""
        fault = f"expected {expected}, got {', '.join(unknown[:_MAX_LISTED])}{more}"
        raise InputError("unknown-mask-value", volume.path, fault, "correct the mask or the labels of dataset.json")
    return volume


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume with its type and geometry; the file appears whole or not at all.

    NIfTI gets qform and sform, both with code 1 (scanner), in millimetres, so that all readers agree. A compressed
    file is at most a tenth larger than SimpleITK would write it.

    Args:
        volume: array (Z, Y, X) of integers or floats; bool is written as uint8.
        path: a file with one of ``ENDINGS``; missing folders are made.

    Raises:
        InputError: an ending, a type of voxels or an affine that cannot be written.
    """
    path = Path(path)
    check_affine(volume.affine, path)
    write = nifti.write_nifti if _is_nifti(path) else itk_files.write_itk
    with atomic_file(path) as temporary:
        write(volume.array, volume.affine, temporary)


def count_values(array: npt.NDArray[Any]) -> dict[int, int]:
    """Return how many voxels of an integer array (any shape) have each value that occurs, by value."""
    return _count_values(array, bounding_box(array))


def _count_values(array: npt.NDArray[Any], held_box: Box | None) -> dict[int, int]:
    """As `count_values`, by the box outside of which all is 0: of a mask of a head a hundredth of it."""
    if held_box is None:
        return {0: array.size} if array.size else {}
    held = array[held_box]
    lowest, highest = int(held.min()), int(held.max())
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        values, counts = np.unique(array, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # slice by slice, since counting casts to eight bytes a voxel, and without the zeros, of which masks are full
    found = [part[part != 0] for part in np.atleast_2d(held)]
    histogram = sum(np.bincount(values, minlength=highest + 1) for values in found)
    counts = np.asarray(histogram)
    counts[0] = array.size - sum(values.size for values in found)
    return {value: int(count) for value, count in enumerate(counts.tolist()) if count}


def check_same_geometry(a: Volume, b: Volume, tolerance_mm: float = TOLERANCE_MM) -> None:
    """Check that two volumes lie on the same voxels of the patient.

    Raises:
        InputError: other shape, or corresponding corners further apart than ``tolerance_mm``.
    """
    _check_same_shape(a, b)
    distance = float(np.linalg.norm(a.corners_mm() - b.corners_mm(), axis=1).max())
    if not distance <= tolerance_mm:
        raise InputError(
            "geometry-differs",
            b.path,
            f"expected the geometry of {a.path} within {tolerance_mm} mm, got corners {distance:.4g} mm apart",
            "correct spacing, origin and direction of one of them",
        )


def repair_geometry(reference: Volume, volume: Volume, tolerance_mm: float = TOLERANCE_MM) -> Volume:
    """Give a volume the affine of another one where both can only be meant for the same voxels.

    Returns:
        ``volume`` itself where corresponding corners lie within ``tolerance_mm``; with the affine of ``reference`` and
        ``changed`` set where they differ by less than half a voxel along each axis of ``reference``.

    Raises:
        InputError: other shape, or half a voxel or more.
    """
    _check_same_shape(reference, volume)
    difference = volume.corners_mm() - reference.corners_mm()  # (8, 3)
    distance = np.linalg.norm(difference, axis=1).max()
    if distance <= tolerance_mm:
        return volume
    voxels = float(np.abs(difference @ np.linalg.inv(reference.affine[:3, :3]).T).max())
    if not voxels < 0.5:
        raise InputError(
            "geometry-differs",
            volume.path,
            f"expected the geometry of {reference.path} within half a voxel, got corners {voxels:.4g} voxels "
            f"({distance:.4g} mm) apart",
            "correct spacing, origin and direction of one of them",
        )
    return replace(volume, affine=reference.affine, spacing_mm=reference.spacing_mm, changed=True)


def _check_same_shape(a: Volume, b: Volume) -> None:
    if a.array.shape != b.array.shape:
        raise InputError(
            "shape-differs",
            b.path,
            f"expected the shape (z, y, x) {a.array.shape} of {a.path}, got {b.array.shape}",
            "export image and mask on the same grid",
        )


def _check_finite(volume: Volume, remedy: str = "replace them, for example by -1000 outside a CT") -> None:
    if not np.issubdtype(volume.array.dtype, np.floating):
        return
    bad = ~np.isfinite(volume.array)
    count = int(np.count_nonzero(bad))
    if count:
        index = np.unravel_index(int(bad.argmax()), bad.shape)
        raise InputError(
            "not-finite",
            volume.path,
            f"expected finite voxels, got {count} NaN or infinite, the first at (z, y, x) = {_index(index)}",
            remedy,
        )


def _rounded(volume: Volume) -> tuple[npt.NDArray[np.int32], int]:
    """Return the mask in integers and how many voxels were none; slice by slice, to save memory."""
    array = np.empty(volume.array.shape, np.int32)
    repaired = 0
    for z, part in enumerate(volume.array):
        whole = np.rint(part)
        distance = np.abs(part - whole)
        wrong = (distance > MASK_ROUNDING) | (np.abs(whole) > np.iinfo(np.int32).max)
        if wrong.any():
            y, x = _index(np.unravel_index(int(wrong.argmax()), wrong.shape))
            raise InputError(
                "non-integer-mask",
                volume.path,
                f"expected integers, got {float(part[y, x]):.6g} at (z, y, x) = {(z, y, x)}",
                "export the mask without interpolation",
            )
        repaired += int(np.count_nonzero(distance))
        array[z] = whole
    return array, repaired


def _index(index: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in index)


def _read_volume(path: Path) -> Volume:
    is_nifti = _is_nifti(path)
    _check_is_no_device(path)
    if is_nifti:
        content = nifti.read_nifti(path)
        volume = _volume(content.array, content.affine, path)
        return replace(volume, sha256=content.sha256, warnings=content.warnings)
    array, affine, sha256 = itk_files.read_itk(path)
    return replace(_volume(array, affine, path), sha256=sha256)


def _volume(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> Volume:
    x, y, z = (float(value) for value in spacing_of(affine))
    return Volume(array, (z, y, x), affine, path)


def _is_nifti(path: Path) -> bool:
    if not path.name.endswith(ENDINGS):
        fault = f"expected one of {', '.join(ENDINGS)}, got {path.name}"
        raise InputError("unknown-ending", path, fault, "convert it to .nii.gz")
    return path.name.endswith(nifti.ENDINGS)


def _check_is_no_device(path: Path) -> None:
    """Refuse what can be opened but has no end, such as a named pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # reading says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError("unreadable-file", path, "expected a file, got a pipe or device", "check the path")
