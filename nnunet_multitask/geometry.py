"""Affines of volumes: what an orthogonal grid of voxels in a patient may look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError

Affine = npt.NDArray[np.float64]  # (4, 4), voxel index (x, y, z) to RAS+ millimetres

MAX_SPACING_MM = 50.0
MAX_SHEAR = 9e-5  # in the product of the directions and their transpose; SimpleITK refuses 1e-4


def corners_mm(shape_zyx: tuple[int, ...], affine: Affine) -> npt.NDArray[np.float64]:
    """Return the centres of the eight corner voxels of an array (Z, Y, X) in RAS+ millimetres, (8, 3)."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape_zyx[::-1]) - 1)
    return np.asarray(corners @ affine[:3, :3].T + affine[:3, 3])


def spacing_of(affine: Affine) -> npt.NDArray[np.float64]:
    """Return the distances of voxel centres along (x, y, z) in mm, (3,)."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def axial_axis(affine: Affine) -> int:
    """Return the axis, 0 to 2, of an array (Z, Y, X) that runs most nearly from foot to head: it counts axial slices.

    It is 0 for what most scanners store; sagittal or coronal series, and what was reoriented, have another.
    """
    upwards = np.abs(affine[2, :3]) / spacing_of(affine)  # (x, y, z)
    return 2 - int(np.flatnonzero(upwards == upwards.max())[-1])


def check_spacing(spacing_xyz_mm: npt.NDArray[np.float64], path: Path) -> None:
    """Check the distances of voxel centres along (x, y, z).

    Raises:
        InputError: 0, negative, not finite, or above 50 mm.
    """
    if not ((spacing_xyz_mm > 0).all() and (spacing_xyz_mm <= MAX_SPACING_MM).all()):  # False for NaN, too
        values = [float(f"{value:.7g}") for value in spacing_xyz_mm]
        fault = f"expected (x, y, z) spacing in 0 to {MAX_SPACING_MM:g} mm, got {values}"
        raise InputError("bad-spacing", path, fault, "correct the header")


def check_right_angles(affine: Affine, path: Path) -> None:
    """Check that the three axes stand at right angles; axes without length are passed over.

    Raises:
        InputError: a sheared affine.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = affine[:3, :3] / spacing_of(affine)
        shear = max(
            np.abs(product - np.eye(3)).max() for product in (directions.T @ directions, directions @ directions.T)
        )
    if shear > MAX_SHEAR:  # False for NaN
        raise InputError(
            "sheared-affine",
            path,
            "expected axes at right angles, got a sheared affine, as a tilted gantry leaves it",
            "convert the DICOM series with nnunet-multitask convert dicom, which resamples, or resample the image",
        )


def check_affine(affine: Affine, path: Path) -> None:
    """Check that an affine is finite and its axes have plausible lengths and stand at right angles.

    Raises:
        InputError: anything else.
    """
    if not np.isfinite(affine).all():
        fault = f"expected finite directions and origin, got {affine[:3].tolist()}"
        raise InputError("bad-affine", path, fault, "correct the header")
    check_spacing(spacing_of(affine), path)
    check_right_angles(affine, path)
