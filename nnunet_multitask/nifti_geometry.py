"""Which geometry a NIfTI header gives: the one that SimpleITK reads, since nnU-Net trains with it.

Voxel sizes come from ``pixdim`` in the header's unit of length; directions and origin from the sform where its code
is 1 (scanner) or where it stands alone, else as a rule from the qform. nibabel and others prefer every sform to the
qform and take its lengths for the voxel sizes, so a header that says two things is told to the user. A header that
says nothing is LPS from the first voxel on; nibabel takes the middle of the array as origin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.geometry import Affine, check_affine, check_right_angles, check_spacing, spacing_of
from nnunet_multitask.itk_files import read_affine

MAX_DIFFERENCE = 1e-3  # of the elements of qform and sform, and of spacings
QUATERNION_ROUNDING = 1e-7  # of the squared first component, when the others are stored in single precision

_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # codes of metre, millimetre and micrometre; any other is read as millimetre


def affine_of(header: Any, path: Path) -> tuple[Affine, tuple[InputError, ...]]:
    """Return the affine of a header, and what is doubtful about it.

    Args:
        header: nibabel's ``Nifti1Header``, unchecked.
        path: the file, for messages; where the codes of qform and sform leave it open, SimpleITK is asked about it.

    Returns:
        (4, 4), voxel index (x, y, z) to RAS+ millimetres, and at most one warning.

    Raises:
        InputError: impossible spacing, shear, directions that are none.
    """
    unit = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = np.array(header["pixdim"][1:4], np.float64) * unit
    check_spacing(spacing, path)
    forms: dict[str, Affine] = {}
    if header["sform_code"] > 0:
        forms["sform"] = _scaled(np.asarray(header.get_sform(), np.float64), unit)
        check_right_angles(forms["sform"], path)
    if header["qform_code"] > 0:
        forms["qform"] = _scaled(_qform(header), unit)
    if not forms:
        fault = "expected a qform or an sform, got neither; the axes were taken as left, posterior, superior"
        warning = InputError("no-orientation", path, fault, "write a qform or an sform into the header")
        return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]), (warning,)
    if len(forms) == 2 and (header["sform_code"] != 1 or not _gives_directions(forms["sform"])):
        affine = read_affine(path)  # SimpleITK weighs the two in a way of its own
        used = min(forms, key=lambda name: np.nan_to_num(np.abs(forms[name] - affine), nan=np.inf).max())
    else:
        used = "sform" if "sform" in forms else "qform"
        affine = forms[used].copy()
        if not _gives_directions(affine):
            fault = f"expected directions of some length, got the {used} {affine[:3].tolist()}"
            raise InputError("bad-affine", path, fault, "correct the header")
        affine[:3, :3] *= spacing / spacing_of(affine)
    check_affine(affine, path)
    return affine, _doubts(forms, used, spacing, _rotation_rounding(header), path)


def set_geometry(header: Any, affine: Affine) -> None:
    """Write an affine without shear into a header, as qform and sform with code 1 in millimetres.

    Args:
        header: nibabel's ``Nifti1Header`` with its shape set.
        affine: (4, 4), voxel index (x, y, z) to RAS+ millimetres.
    """
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")


def _qform(header: Any) -> Affine:
    """Return the qform by the NIfTI-1 standard; NaN where its quaternion is none.

    A first component below the precision of the stored ones is 0, as in NIfTI's reference code and SimpleITK: a scan
    of axes to left and posterior has 0 there, and rounding would turn it by up to 0.04 degrees.
    """
    vector = np.array([header["quatern_b"], header["quatern_c"], header["quatern_d"]], np.float64)
    square = float(vector @ vector)
    affine = np.eye(4)
    affine[:3, 3] = header["qoffset_x"], header["qoffset_y"], header["qoffset_z"]
    if not square <= 1 + 1e-3:  # False for NaN, too
        affine[:3, :3] = np.nan
        return affine
    if 1 - square < QUATERNION_ROUNDING:
        a, (b, c, d) = 0.0, vector / np.sqrt(square)
    else:
        a, (b, c, d) = np.sqrt(1 - square), vector
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handedness = -1.0 if header["pixdim"][0] < 0 else 1.0
    affine[:3, :3] = rotation * np.array(header["pixdim"][1:4], np.float64) * [1.0, 1.0, handedness]
    return affine


def _rotation_rounding(header: Any) -> float:
    """Return how far the elements of the qform's rotation may be off, since its quaternion is of single precision.

    The first component is the root of what the three stored ones leave of 1. Near a half turn, as scans of axes to left
    and posterior have it, that is next to nothing, and a rounding of 1e-7 becomes 4e-4 by the root.
    """
    vector = np.array([header["quatern_b"], header["quatern_c"], header["quatern_d"]], np.float64)
    rest = max(1 - float(vector @ vector), 0.0)
    lowest = max(rest - QUATERNION_ROUNDING, 0.0)
    return 2 * float(np.sqrt(rest + QUATERNION_ROUNDING) - np.sqrt(lowest))


def _gives_directions(affine: Affine) -> bool:
    return bool(np.isfinite(affine).all() and (spacing_of(affine) > 0).all())


def _doubts(
    forms: dict[str, Affine], used: str, spacing: npt.NDArray[np.float64], rotation_rounding: float, path: Path
) -> tuple[InputError, ...]:
    if len(forms) == 2:
        differences = np.abs(forms["sform"] - forms["qform"])
        allowed = np.full((4, 4), MAX_DIFFERENCE)
        allowed[:3, :3] += rotation_rounding * spacing
        if not (differences <= allowed).all():  # NaN differs, too
            difference = float(differences.max())
            fault = f"expected equal qform and sform, they differ by {difference:.3g}; the {used} was used"
            return (InputError("qform-sform", path, f"{fault}, as SimpleITK does", "correct the header"),)
    lengths = spacing_of(forms[used])
    if np.abs(lengths - spacing).max() > MAX_DIFFERENCE:
        fault = f"expected pixdim and {used} to give the same spacing, got {_text(spacing)} and {_text(lengths)} mm"
        fault += "; pixdim was used, as SimpleITK does"
        return (InputError("pixdim-sform", path, fault, "correct the header"),)
    return ()


def _scaled(form: Affine, unit: float) -> Affine:
    form[:3] *= unit
    return form


def _text(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]
