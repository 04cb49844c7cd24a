"""Opening images and masks with every check that nnU-Net leaves out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.nifti import MAX_SPACING_MM, read_nifti, write_nifti
from nnunet_multitask.storage import atomic_file, read_bytes

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes run to left and posterior, NIfTI's to right and anterior

MASK_ROUNDING = 1e-3  # float masks this near to an integer are repaired


@dataclass(frozen=True)
class Volume:
    """One image or mask.

    Args:
        array: (Z, Y, X), the order in which nnU-Net's SimpleITKIO reads it.
        spacing_mm: distance of voxel centres along (z, y, x).
        affine: (4, 4), voxel index (x, y, z) to RAS+ millimetres, as in NIfTI.
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
        size = np.array(self.array.shape[::-1])
        corners = np.array(list(np.ndindex(2, 2, 2))) * (size - 1)
        return corners @ self.affine[:3, :3].T + self.affine[:3, 3]


def read_image(path: str | Path) -> Volume:
    """Read a 3-D image and refuse what nnU-Net would misread.

    NIfTI is read with nibabel's header classes from bytes that were read to the end of the gzip stream, whose checksum
    is compared; other formats that nnU-Net reads go through SimpleITK.

    Returns:
        The volume; integer types are kept, scaled images are float32 or float64.

    Raises:
        InputError: damaged file, unknown type, not 3-D, impossible spacing, sheared affine, voxels that are not finite.
    """
    volume = _read_volume(Path(path))
    _check_finite(volume)
    return volume


def read_mask(path: str | Path, allowed_labels: Collection[int] | None = None) -> Volume:
    """Read a 3-D mask of integers.

    Float values within 1e-3 of an integer are repaired and counted in ``repaired_voxels``.

    Args:
        path: the file.
        allowed_labels: the values that may occur, background among them; None allows every value from 0 on.

    Returns:
        The volume with an array of an integer type. An empty mask is valid.

    Raises:
        InputError: as for ``read_image``; also values that are no integers, negative, or not allowed.
    """
    volume = _read_volume(Path(path))
    repaired = 0
    array = volume.array
    if not np.issubdtype(array.dtype, np.integer):
        _check_finite(volume)
        rounded = np.rint(array)
        distance = np.abs(array - rounded)
        if distance.max() > MASK_ROUNDING:
            index = np.unravel_index(int(distance.argmax()), array.shape)
            raise InputError(
                "non-integer-mask",
                volume.path,
                f"expected integers, got {float(array[index]):.6g} at (z, y, x) = {_index(index)}",
                "export the mask without interpolation",
            )
        repaired = int(np.count_nonzero(distance))
        array = rounded.astype(np.int32)
    known = None if allowed_labels is None else set(allowed_labels)
    unknown = [
        f"{value} ({count} voxels)"
        for value, count in count_values(array).items()
        if value < 0 or (known is not None and value not in known)
    ]
    if unknown:
        expected = "values from 0 on" if known is None else f"the values {sorted(known)}"
        fault = f"expected {expected}, got {', '.join(unknown[:10])}"
        raise InputError("unknown-mask-value", volume.path, fault, "correct the mask or the labels of dataset.json")
    return replace(volume, array=array, repaired_voxels=repaired, changed=array is not volume.array)


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume with its type and geometry; the file appears whole or not at all.

    Args:
        volume: array (Z, Y, X) of a type that the format knows.
        path: ``.nii.gz`` and ``.nii`` get qform and sform, both with code 1; other endings are written by SimpleITK.

    Raises:
        InputError: an ending or a type of voxels that cannot be written.
    """
    path = Path(path)
    with atomic_file(path) as temporary:
        if path.name.endswith((".nii.gz", ".nii")):
            write_nifti(volume.array, volume.affine, temporary)
        else:
            _write_itk(volume, temporary)


def count_values(array: npt.NDArray[Any]) -> dict[int, int]:
    """Return how many voxels of an integer array (any shape) have each value that occurs, by value."""
    if array.size == 0:
        return {}
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        values, counts = np.unique(array, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # slice by slice: counting casts to eight bytes a voxel
    histogram = sum(np.bincount(part.ravel(), minlength=highest + 1) for part in array)
    return {value: int(count) for value, count in enumerate(np.asarray(histogram).tolist()) if count}


def check_same_geometry(a: Volume, b: Volume, tolerance_mm: float = 1e-3) -> None:
    """Check that two volumes lie on the same voxels of the patient.

    Raises:
        InputError: other shape, or corresponding corners further apart than ``tolerance_mm``.
    """
    if a.array.shape != b.array.shape:
        raise InputError(
            "shape-differs",
            b.path,
            f"expected the shape (z, y, x) {a.array.shape} of {a.path}, got {b.array.shape}",
            "export image and mask on the same grid",
        )
    distance = float(np.linalg.norm(a.corners_mm() - b.corners_mm(), axis=1).max())
    if distance > tolerance_mm:
        raise InputError(
            "geometry-differs",
            b.path,
            f"expected the geometry of {a.path} within {tolerance_mm} mm, got corners {distance:.4g} mm apart",
            "correct spacing, origin and direction of one of them",
        )


def repair_geometry(reference: Volume, volume: Volume) -> Volume:
    """Return a volume with the affine of another one, where it can only be meant to be the same.

    Returns:
        ``volume`` itself where the affines are equal; otherwise with the affine of ``reference`` and ``changed`` set.

    Raises:
        InputError: the shapes differ, or corresponding corners lie half a voxel or more apart.
    """
    if np.array_equal(reference.affine, volume.affine) and reference.array.shape == volume.array.shape:
        return volume
    check_same_geometry(reference, volume, tolerance_mm=0.5 * min(reference.spacing_mm))
    return replace(volume, affine=reference.affine, spacing_mm=reference.spacing_mm, changed=True)


def _check_finite(volume: Volume) -> None:
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
            "replace them, for example by -1000 outside a CT",
        )


def _index(index: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in index)


def _read_volume(path: Path) -> Volume:
    if path.name.endswith((".nii.gz", ".nii")):
        nifti = read_nifti(path)
        volume = _volume(nifti.array, nifti.affine, path)
        return replace(volume, sha256=nifti.sha256, warnings=nifti.warnings)
    return _read_itk(path)


def _read_itk(path: Path) -> Volume:
    import SimpleITK as sitk

    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            "unreadable-image", path, f"expected an image, got: {reason}", "export the file again"
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        shape = f"{image.GetDimension()} dimensions, {image.GetNumberOfComponentsPerPixel()} components"
        raise InputError("not-3d", path, f"expected a 3-D image of one component, got {shape}", "one file a channel")
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return replace(_volume(sitk.GetArrayFromImage(image), _RAS_LPS @ lps, path), sha256=digest)


def _write_itk(volume: Volume, path: Path) -> None:
    import SimpleITK as sitk

    lps = _RAS_LPS @ volume.affine
    try:
        image = sitk.GetImageFromArray(volume.array)
        image.SetSpacing(volume.spacing_mm[::-1])
        image.SetOrigin(lps[:3, 3])
        image.SetDirection((lps[:3, :3] / volume.spacing_mm[::-1]).ravel())
        sitk.WriteImage(image, str(path), True)
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            "unwritable-image",
            path,
            f"expected an ending and a type that can be written, got: {reason}",
            "write .nii.gz",
        ) from error


def _volume(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> Volume:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (spacing > 0).all() and (spacing <= MAX_SPACING_MM).all()):
        fault = f"expected (x, y, z) spacing in 0 to {MAX_SPACING_MM:g} mm, got {spacing.tolist()}"
        raise InputError("bad-spacing", path, fault, "correct the header")
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-4:
        raise InputError(
            "sheared-affine",
            path,
            "expected axes at right angles, got a sheared affine",
            "resample to an orthogonal grid",
        )
    x, y, z = (float(value) for value in spacing)
    return Volume(array, (z, y, x), affine, path)
