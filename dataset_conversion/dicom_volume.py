"""One stack of DICOM slices as a volume on a grid at right angles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.dicom_geometry import make_grid, resample
from nnunet_multitask.dataset_conversion.dicom_headers import SliceHeader, read_header
from nnunet_multitask.dataset_conversion.dicom_pixels import AIR_HU
from nnunet_multitask.dataset_conversion.dicom_series import Stack, group_stacks, positions_along_normal
from nnunet_multitask.dataset_conversion.dicom_stack import LoadedStack, load_stack
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume

OnIrregular = Literal["resample", "refuse"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DicomVolume:
    """A volume and where it comes from.

    Args:
        volume: HU as int16 for CT; ``path`` is the file of the first slice, ``warnings`` says what is doubtful.
        slices: those it was made of, in the order of their positions.
        inputs: every file that was read, duplicates among them, with the SHA-256 of its bytes.
        facts: what was found and done, as JSON without any text of the patient's.
    """

    volume: Volume
    slices: tuple[SliceHeader, ...]
    inputs: Mapping[Path, str]
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_series(
    files: Iterable[str | Path],
    *,
    modalities: Sequence[str] = ("CT",),
    on_irregular: OnIrregular = "resample",
    slice_spacing_mm: float | None = None,
) -> DicomVolume:
    """Read the files of one series as a volume.

    Args:
        files: in any order, with any names.
        modalities: which are accepted.
        on_irregular, slice_spacing_mm: as in ``read_stack``.

    Returns:
        The volume.

    Raises:
        InputErrors: every file that holds no slice or cannot be read.
        InputError: no stack, or several; also as ``read_stack``.
    """
    headers, errors = [], []
    paths = [Path(file) for file in files]
    for path in paths:
        try:
            headers.append(read_header(path, modalities))
        except InputError as error:
            errors.append(error)
    if errors:
        raise InputErrors(errors)
    stacks, _ = group_stacks(headers)
    if len(stacks) != 1:
        where = paths[0] if paths else "DICOM series"
        fault = f"expected the files of one series of parallel slices, got {len(stacks)} in {len(paths)} files"
        raise InputError("several-series" if stacks else "no-series", where, fault, "give the files of one series")
    return read_stack(stacks[0], on_irregular=on_irregular, slice_spacing_mm=slice_spacing_mm)


def read_stack(
    stack: Stack, *, on_irregular: OnIrregular = "resample", slice_spacing_mm: float | None = None
) -> DicomVolume:
    """Read a stack as a volume with axes at right angles, as near to left, posterior and up as they come.

    An even stack without tilt is taken as it is. Otherwise each slice is put at its true position on a grid along the
    axes of its slices (see ``make_grid``), linear within the slices and between neighbouring ones. Air surrounds them.

    Args:
        stack: the slices.
        on_irregular: ``resample``, or ``refuse`` slices that are tilted against their table or unevenly spaced.
        slice_spacing_mm: wanted distance of the planes; None for the median gap. Given, every stack is resampled that
            has another spacing.

    Returns:
        The volume; missing slices (a gap 1.5 times as wide as those beside it) are filled linearly and warned of.

    Raises:
        InputErrors: slices whose pixels cannot be read.
        InputError: images that differ at one position, or an irregular stack that is to be refused.
    """
    loaded = load_stack(stack)
    geometry = loaded.geometry
    reasons = [] if geometry.is_upright else ["gantry-tilt"]
    if not geometry.is_even:
        reasons.append("uneven-slices")
    if reasons and on_irregular == "refuse":
        raise _irregular(loaded, reasons)
    first = loaded.headers[0]
    gap = float(geometry.gaps_mm.mean())
    if not reasons and slice_spacing_mm is not None and abs(gap - slice_spacing_mm) > 1e-3:
        reasons.append("slice-spacing")
    if reasons:
        grid = make_grid(geometry, slice_spacing_mm)
        outside = AIR_HU if first.modality == "CT" else 0
        kind = loaded.pixels[0].array.dtype
        array = np.empty(grid.shape, kind)
        for index, plane in enumerate(resample(grid, lambda i: loaded.pixels[i].array, outside)):
            array[index] = plane if kind == np.float32 else np.rint(plane)
        affine = LPS_TO_RAS @ grid.affine
    else:
        array = np.stack([pixels.array for pixels in loaded.pixels])
        affine = LPS_TO_RAS @ geometry.affine(gap)
    array, affine = _to_lps(array, affine)
    warnings = (*_duplicate_warnings(loaded), *_gap_warnings(loaded), *_pixel_warnings(loaded))
    x, y, z = (float(value) for value in np.linalg.norm(affine[:3, :3], axis=0))
    volume = Volume(array, (z, y, x), affine, first.path, changed=True, warnings=warnings)
    return DicomVolume(volume, loaded.headers, loaded.inputs, _facts(loaded, volume, reasons))


def _to_lps(
    array: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Turn whole axes until x runs most nearly to the left, y to posterior and z up; no voxel changes."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPS"))
    turned = apply_orientation(array.T, turn).T
    return np.ascontiguousarray(turned), affine @ inv_ornt_aff(turn, array.shape[::-1])


def _irregular(loaded: LoadedStack, reasons: Sequence[str]) -> InputError:
    geometry = loaded.geometry
    gaps = geometry.gaps_mm
    fault = f"expected even slices at right angles to their stack, got gaps of {gaps.min():.2f} to {gaps.max():.2f} mm"
    fault += f" and a tilt of {geometry.tilt_degrees:.1f} degrees"
    return InputError(reasons[0], loaded.headers[0].path, fault, "use --on-irregular resample")


def _duplicate_warnings(loaded: LoadedStack) -> list[InputError]:
    return [
        InputError(
            "duplicate-slice",
            header.path,
            f"expected each slice once, {_name(header)} repeats another pixel by pixel and is left out",
            "remove the file",
        )
        for header in loaded.duplicates
    ]


def _gap_warnings(loaded: LoadedStack) -> list[InputError]:
    warnings = []
    gaps = loaded.geometry.gaps_mm
    for index in loaded.geometry.wide_gaps():
        beside = max(gaps[other] for other in (index - 1, index + 1) if 0 <= other < len(gaps))
        count = max(1, round(gaps[index] / beside) - 1)
        fault = (
            f"expected a slice every {beside:.2f} mm, got {gaps[index]:.2f} mm between {_name(loaded.headers[index])} "
            f"and {_name(loaded.headers[index + 1])}: {count} missing, filled linearly"
        )
        warnings.append(InputError("missing-slice", loaded.headers[index].path, fault, "add the missing files"))
    return warnings


def _pixel_warnings(loaded: LoadedStack) -> list[InputError]:
    warnings = []
    path = loaded.headers[0].path
    units = sorted({header.unit for header in loaded.headers} - {"", "HU", "US"})  # US: unspecified
    if units and loaded.headers[0].modality == "CT":
        fault = f"expected Hounsfield units, the headers say that the values are {', '.join(units)}"
        warnings.append(InputError("no-hounsfield", path, fault, "convert the series in Hounsfield units in its place"))
    repaired = sum(pixels.sign_repaired for pixels in loaded.pixels)
    if repaired:
        fault = f"expected signed pixels, {repaired} slices declare theirs as unsigned; they were read as signed"
        warnings.append(InputError("pixel-sign", path, fault, "compare the image with the viewer of the scanner"))
    clipped = sum(pixels.clipped_pixels for pixels in loaded.pixels)
    if clipped:
        fault = f"expected Hounsfield units up to 32767, {clipped} pixels above are 32767 now"
        warnings.append(InputError("clipped", path, fault, "check slope and intercept"))
    return warnings


def _name(header: SliceHeader) -> str:
    at = f"the slice at {positions_along_normal([header])[0]:.2f} mm"
    return at if header.instance_number is None else f"{at} (instance {header.instance_number})"


def _facts(loaded: LoadedStack, volume: Volume, reasons: Sequence[str]) -> dict[str, Any]:
    gaps = loaded.geometry.gaps_mm
    gaps_mm = {"min": gaps.min(), "median": np.median(gaps), "max": gaps.max()}
    headers = loaded.headers
    return {
        "modality": headers[0].modality,
        "slices": len(headers),
        "duplicates": len(loaded.duplicates),
        "wide_gaps": len(loaded.geometry.wide_gaps()),
        "tilt_degrees": round(loaded.geometry.tilt_degrees, 3),
        "gaps_mm": {name: round(float(gap), 4) for name, gap in gaps_mm.items()},
        "slice_thickness_mm": sorted({h.slice_thickness_mm for h in headers if h.slice_thickness_mm is not None}),
        "kernel": sorted({header.kernel for header in headers if header.kernel}),
        "slope_and_intercept": sorted(
            [*pair] for pair in {(pixels.slope, pixels.intercept) for pixels in loaded.pixels}
        ),
        "resampled_for": list(reasons),
        "size_xyz": list(volume.array.shape[::-1]),
        "spacing_xyz_mm": [round(value, 6) for value in volume.spacing_mm[::-1]],
        "value_range": [volume.array.min().item(), volume.array.max().item()],
        "outside_pixels": sum(pixels.outside_pixels for pixels in loaded.pixels),
        "sign_repaired_slices": sum(pixels.sign_repaired for pixels in loaded.pixels),
        "clipped_pixels": sum(pixels.clipped_pixels for pixels in loaded.pixels),
    }
