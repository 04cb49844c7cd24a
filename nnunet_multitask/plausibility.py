"""Volumes that can be read but hardly are what they should be: warnings, never errors."""

from __future__ import annotations

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume


def intensity_warning(image: Volume, channel_name: str) -> InputError | None:
    """Say whether a CT seems to hold something else than Hounsfield units.

    Args:
        image: (Z, Y, X).
        channel_name: the channel's name in dataset.json; only ``CT`` is looked at, in any case of letters.

    Returns:
        A warning, or None where nothing is odd or the array is empty.
    """
    if channel_name.lower() != "ct" or image.array.size == 0:
        return None
    lowest, highest = float(image.array.min()), float(image.array.max())
    if lowest >= 0 and highest <= 255:
        fault = f"expected Hounsfield units, got an 8-bit range of {lowest:g} to {highest:g}"
        return InputError("no-hounsfield", image.path, fault, "export the original CT, or name the channel otherwise")
    if lowest >= 0:
        fault = f"expected Hounsfield units, got {lowest:g} to {highest:g} without a value below 0"
        return InputError("no-hounsfield", image.path, fault, "subtract 1024")
    return None


def flip_warning(image: Volume, mask: Volume) -> InputError | None:
    """Say whether the left-right mirrored mask explains the intensities clearly better than the mask.

    Args:
        image: (Z, Y, X).
        mask: (Z, Y, X) on the same voxels; every value but 0 is looked at together.

    Returns:
        A warning, or None; None for an empty mask, too.
    """
    foreground = mask.array > 0
    if not foreground.any() or image.array.shape != mask.array.shape:
        return None
    axis = 2 - int(np.abs(image.affine[0, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)).argmax())
    mirrored = np.flip(foreground, axis)
    only_here, only_there = foreground & ~mirrored, mirrored & ~foreground
    if not only_here.any():
        return None
    here, there = float(np.median(image.array[only_here])), float(np.median(image.array[only_there]))
    if there <= here + 15.0:
        return None
    fault = f"expected blood under the mask, got a median of {here:.0f} there and {there:.0f} under the mirrored mask"
    return InputError("mirrored-mask", mask.path, fault, "look at the case; flip the mask if it is mirrored")
