"""Volumes that can be read but are hardly what they should be: heuristics that warn and never refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume

# share of a scan's voxels, from which a tissue is taken to be there
_AIR_SHARE = 0.001
_SHIFTED_SHARE = 0.1

_AIR_HU = (-1200, -500)  # the field of view around a head holds air; a filling value of -2000 is none
_SHIFTED_HU = (974, 1174)  # soft tissue of -50 to 150 HU without the rescale intercept of -1024
_FRESH_BLOOD_HU = (45, 100)  # above brain (20 to 40), below calcification and bone

_MIN_VOXELS = 10
_CLEARLY_MORE = 0.5


def intensity_warning(image: Volume, channel_name: str) -> InputError | None:
    """Say whether a CT seems to hold something else than Hounsfield units.

    That is so for 8-bit voxels or a range within 0 to 255, for a scan without a value below 0, and for one without
    air around -1000 where a tenth of all voxels are soft tissue 1024 too high. On 100 scans of the phantom it warned
    for none as they are, and for all with 1024 added, with a filling value of -2000 besides, or as 8-bit windows.

    Args:
        image: (Z, Y, X).
        channel_name: the channel's name in dataset.json; only ``CT`` is looked at, in any case of letters.

    Returns:
        A warning, or None where nothing is odd or the array is empty.
    """
    if channel_name.lower() != "ct" or image.array.size == 0:
        return None
    array = image.array
    lowest, highest = float(array.min()), float(array.max())
    remedy = "apply the DICOM rescale intercept, subtracting 1024 as a rule"
    if array.dtype.itemsize == 1 or (lowest >= 0 and highest <= 255):
        found = f"{array.dtype} voxels of {lowest:g} to {highest:g}, an 8-bit picture"
        remedy = "convert the original CT, or give the channel another name, by which nnU-Net normalises it"
    elif lowest >= 0:
        found = f"{lowest:g} to {highest:g}, without a value below 0"
    elif _share(array, _AIR_HU) < _AIR_SHARE and _share(array, _SHIFTED_HU) > _SHIFTED_SHARE:
        found = f"no air near -1000 and {_share(array, _SHIFTED_HU):.0%} of the voxels around 1024 + 50"
    else:
        return None
    return InputError("no-hounsfield", image.path, f"expected Hounsfield units, got {found}", remedy)


def flip_warning(image: Volume, mask: Volume) -> InputError | None:
    """Say whether the mask of a bleeding on CT looks mirrored left to right under its image.

    Looked at are the mask's voxels whose mirror images are none of the mask, the mirror plane being the middle of the
    array, which is what an array flipped under the same affine has. The warning comes where fresh blood (45 to 100 HU)
    makes up half of the voxels more on the mirrored side than under the mask. A mask is not judged if it has fewer
    than 10 such voxels, and an image not if it holds no air (MR, 8-bit pictures, skull-stripped CT). Old bleedings,
    as dark as brain, give no warning on either side.

    It warned for none of 179 phantom scans with bleedings of five kinds as they are and for all of them with flipped
    masks, with 15 HU of noise added as without; on the 80 MR volumes of the hippocampus sample, as they are or flipped,
    for none. Phantom scans are no patients: no patient's scan with a flipped mask was at hand.

    Args:
        image: (Z, Y, X) in Hounsfield units.
        mask: (Z, Y, X) on the same voxels; all values but 0 are looked at together.

    Returns:
        A warning, or None; None for an empty mask and for other shapes, too.
    """
    if image.array.shape != mask.array.shape or _share(image.array, _AIR_HU) < _AIR_SHARE:
        return None
    directions = np.abs(image.affine[0, :3] / np.linalg.norm(image.affine[:3, :3], axis=0))
    axis = 2 - int(directions.argmax())  # of the array, (Z, Y, X), that runs most from left to right
    foreground = mask.array > 0
    one_sided = foreground & ~np.flip(foreground, axis)
    voxels = int(np.count_nonzero(one_sided))
    if voxels < _MIN_VOXELS:
        return None
    here, there = (_share(array[one_sided], _FRESH_BLOOD_HU) for array in (image.array, np.flip(image.array, axis)))
    if there - here < _CLEARLY_MORE:
        return None
    found = f"{here:.0%} of {voxels} voxels, and {there:.0%} under the mirrored mask"
    fault = f"expected fresh blood under the mask, got {found}"
    return InputError("mirrored-mask", mask.path, fault, "look at the case, and flip the mask if it is mirrored")


def _share(array: npt.NDArray[Any], limits: tuple[int, int]) -> float:
    """Return the share of voxels within limits."""
    if array.size == 0:
        return 0.0
    return float(np.count_nonzero((array >= limits[0]) & (array <= limits[1])) / array.size)
