"""What verification looks at in the files of one case; runs in worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.voxel_digest import voxel_digest
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume, check_same_geometry, read_image, read_mask
from nnunet_multitask.plausibility import flip_warning, intensity_warning


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case.

    Args:
        case_id: its id.
        part: ``training`` or ``test``.
        images: one a channel, in order.
        mask: None where it is missing, as test masks may be.
    """

    case_id: str
    part: str
    images: tuple[Path, ...]
    mask: Path | None


@dataclass(frozen=True)
class Expectations:
    """What dataset.json says of every case.

    Args:
        mask_values: what masks may hold, 0 and the ignore label among them.
        ignore: the ignore label, None where there is none.
        channel_names: in order.
        tolerance_mm: how far apart corresponding corners of images and mask may lie.
    """

    mask_values: frozenset[int]
    ignore: int | None
    channel_names: tuple[str, ...]
    tolerance_mm: float


@dataclass(frozen=True)
class MaskContent:
    """What a mask holds.

    Args:
        voxels: mask value to its number of voxels in each axial slice, in array order; 0 is among the values.
        ignore: the ignore label, None where there is none.
    """

    voxels: Mapping[int, tuple[int, ...]]
    ignore: int | None = None

    def total(self, values: tuple[int, ...]) -> int:
        """Return the voxels of some values in the whole mask."""
        return sum(sum(self.voxels.get(value, ())) for value in values)

    @property
    def num_slices(self) -> int:
        """The axial slices of the mask."""
        return len(next(iter(self.voxels.values()), ()))

    @property
    def foreground(self) -> tuple[int, ...]:
        """The values above 0 that occur, without the ignore label, in order."""
        return tuple(sorted(value for value in self.voxels if value not in (0, self.ignore) and self.total((value,))))

    @property
    def kind(self) -> str:
        """``foreground``, ``empty``, ``no mask`` where all is ignored, or ``unknown`` where only a part is."""
        if self.foreground:
            return "foreground"
        ignored = self.ignore is not None and self.total((self.ignore,))
        if not ignored:
            return "empty"
        return "unknown" if self.total((0,)) else "no mask"


@dataclass(frozen=True)
class CaseFindings:
    """What was found in a case.

    Args:
        files: of the case.
        errors, warnings: in the order of the files.
        num_slices: axial slices of the first image, None where it cannot be read.
        mask: None where there is none or it cannot be read.
        voxel_digest: equal for images of equal voxels, however they are stored; None where one cannot be read.
        file_digests: sha256 of the image files.
    """

    files: CaseFiles
    errors: tuple[InputError, ...] = ()
    warnings: tuple[InputError, ...] = ()
    num_slices: int | None = None
    mask: MaskContent | None = None
    voxel_digest: str | None = None
    file_digests: tuple[str, ...] = field(default=())


def check_case(files: CaseFiles, expected: Expectations) -> CaseFindings:
    """Read every file of a case to its end and collect all that is wrong or odd; nothing is raised for a fault.

    Args:
        files: of the case.
        expected: what dataset.json says.
    """
    errors: list[InputError] = []
    warnings: list[InputError] = []
    first: Volume | None = None
    digests: list[str] = []
    file_digests: list[str] = []
    for index, path in enumerate(files.images):
        image = _collect(errors, read_image, path)
        if image is None:
            continue
        name = expected.channel_names[index] if index < len(expected.channel_names) else ""
        warnings += image.warnings
        odd = intensity_warning(image, name)
        warnings += [odd] if odd else []
        digests.append(voxel_digest(image.array))
        file_digests.append(image.sha256)
        if first is None:
            first = image
        else:
            _collect(errors, check_same_geometry, first, image, expected.tolerance_mm)
    content = None
    mask = None if files.mask is None else _collect(errors, read_mask, files.mask, expected.mask_values)
    if mask is not None:
        warnings += mask.warnings
        if mask.repaired_voxels:
            errors.append(_decimals(mask))
        content = MaskContent(_voxels_by_slice(mask.array), expected.ignore)
        if first is not None:
            same = _collect(errors, _same_geometry, first, mask, expected.tolerance_mm)
            odd = flip_warning(first, _without_ignore(mask, expected.ignore)) if same and _is_ct(expected) else None
            warnings += [odd] if odd else []
    return CaseFindings(
        files,
        tuple(errors),
        tuple(warnings),
        num_slices=None if first is None else first.array.shape[0],
        mask=content,
        voxel_digest="+".join(digests) if len(digests) == len(files.images) else None,
        file_digests=tuple(file_digests),
    )


def _collect(errors: list[InputError], function: Any, *args: Any) -> Any:
    """Return what a function returns, or None where it raises, after adding the fault to ``errors``."""
    try:
        return function(*args)
    except InputError as error:
        errors.append(error)
        return None


def _same_geometry(image: Volume, mask: Volume, tolerance_mm: float) -> bool:
    check_same_geometry(image, mask, tolerance_mm)
    return True


def _is_ct(expected: Expectations) -> bool:
    return bool(expected.channel_names) and expected.channel_names[0].lower() == "ct"


def _without_ignore(mask: Volume, ignore: int | None) -> Volume:
    if ignore is None:
        return mask
    return replace(mask, array=np.where(mask.array == ignore, 0, mask.array))


def _decimals(mask: Volume) -> InputError:
    fault = (
        f"expected integers, got {mask.repaired_voxels} voxels beside one, such as 0.9999, of which nnU-Net cuts the "
        "decimals off"
    )
    remedy = "convert the data set with `nnunet-multitask convert`, which rounds them, or save integers"
    return InputError("non-integer-mask", mask.path, fault, remedy)


def _voxels_by_slice(array: npt.NDArray[Any]) -> dict[int, tuple[int, ...]]:
    """Return for each value of a mask (Z, Y, X) its voxels in each slice."""
    counts = [_count_voxels(part) for part in array]
    return {value: tuple(found.get(value, 0) for found in counts) for value in sorted(set().union(*counts))}


def _count_voxels(part: npt.NDArray[Any]) -> dict[int, int]:
    """Return the voxels of each value of a slice (Y, X) of integers from 0 on; none for an empty one."""
    if part.size and int(part.max()) <= np.iinfo(np.uint16).max:
        found = np.bincount(part.ravel())  # much faster than sorting
        return {value: int(found[value]) for value in np.flatnonzero(found).tolist()}
    values, numbers = np.unique(part, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))
