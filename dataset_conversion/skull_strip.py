"""The inside of the skull in a head CT, found with thresholds, distances and connected components.

Method, with all lengths in millimetres, so that thick slices and oblique volumes need nothing special:

1. The volume is averaged to voxels of about 1 mm where it is finer.
2. Bone is what lies above 150 HU in connected parts of at least a twentieth of the largest one, since the skull of an
   infant is in pieces; calcifications and clips are no bone.
3. Soft tissue is what is no bone and lies above -30 HU. Fat and air are not soft tissue, which closes off orbits,
   sinuses and most of the open base of the skull.
4. Soft tissue counts as enclosed where bone lies in five of eight horizontal directions. What is more than 5 mm deep
   in it falls into parts, since foramina are narrower than 10 mm. The core is the part with most voxels that have bone
   in all eight directions and above.
5. Where a piece of skull is missing, the brain lies behind bone in fewer directions: tissue up to 20 mm from the core
   that has bone in three directions and hangs together with the core by more than those 10 mm joins it.
6. The core grows back by the 5 mm. Holes are filled: air, fat, calcifications and metal inside of the skull belong to
   it. The rim then moves by up to 1.5 mm into the edge of the bone, at full resolution: what lies beside bone, blood
   below the skull above all, has a part of its brightness.

The spinal canal stays as far as it is scanned, since nothing closes the foramen magnum. Over a missing piece of skull
the skin stays. The method needs a CT in Hounsfield units that shows bone around the brain.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_multitask.dataset_conversion.channels import patient_axes
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume

BONE_HU = 150.0  # above fresh blood (to about 100 HU) with its noise, below bone that fills half a voxel
SOFT_TISSUE_HU = -30.0  # below fluid with its noise, above fat
OPENING_MM = 5.0  # half the width of the widest opening that still separates
BULGE_MM = 20.0  # how far the inside may reach out of a skull that is open
WORKING_MM = 1.0
RIM_MM = 1.5  # how far into the edge of the bone the rim may lie
RIM_HU = 400.0  # below halfway from tissue to the inner table, so that thin bone is not crossed

Mask = npt.NDArray[np.bool_]  # (Z, Y, X)


def find_intracranial(image: Volume) -> Mask:
    """Return where the inside of the skull is.

    Args:
        image: (Z, Y, X), Hounsfield units.

    Returns:
        (Z, Y, X) bool.

    Raises:
        InputError: nothing is enclosed by bone.
    """
    factors = tuple(max(1, int(WORKING_MM / spacing)) for spacing in image.spacing_mm)
    spacing = tuple(mm * factor for mm, factor in zip(image.spacing_mm, factors, strict=True))
    coarse = _average(image.array, factors)
    bone = _large_parts(coarse > BONE_HU)
    box = _box_around(bone, spacing)  # the couch and the air are most of many volumes
    found = np.zeros(bone.shape, bool)
    found[box] = _find_inside(coarse[box], bone[box], spacing, image)
    return _refine(found, image, factors, spacing)


def _find_inside(coarse: npt.NDArray[np.float32], bone: Mask, spacing_mm: tuple[float, ...], image: Volume) -> Mask:
    """Return the inside of the bone; both arrays are a part of ``image`` at working resolution."""
    soft = ~bone & (coarse > SOFT_TISSUE_HU)
    around, above = _bone_around(bone, image)
    enclosed = soft & (around >= 5)
    parts, count = ndimage.label(_deeper_than(OPENING_MM, enclosed, spacing_mm))
    if count == 0:
        fault = "expected a skull that encloses soft tissue, found none"
        raise InputError("no-skull", image.path, fault, "check that it is a head CT in Hounsfield units")
    votes = np.bincount(parts[(around == 8) & above], minlength=count + 1)
    votes[0] = -1
    core = parts == votes.argmax()
    # outside of an intact skull bone lies in three directions, too, but no wide bridge leads there
    bulging = soft & (around >= 3) & ~_deeper_than(BULGE_MM, ~core, spacing_mm)
    allowed = enclosed | bulging
    parts, _ = ndimage.label(_deeper_than(OPENING_MM, allowed, spacing_mm))
    core = np.isin(parts, np.unique(parts[core & (parts > 0)]))
    grown = allowed & ~_deeper_than(OPENING_MM + 1, ~core, spacing_mm)
    return _fill(grown, patient_axes(image)[0])


def _box_around(mask: Mask, spacing_mm: tuple[float, ...]) -> tuple[slice, ...]:
    """Return the part of the array that holds a mask and a margin; the whole of it for an empty mask."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return (slice(None),) * mask.ndim
    margins = [int(np.ceil(BULGE_MM / mm)) for mm in spacing_mm]
    return tuple(
        slice(max(0, part.start - margin), part.stop + margin) for part, margin in zip(boxes[0], margins, strict=True)
    )


def _deeper_than(depth_mm: float, mask: Mask, spacing_mm: tuple[float, ...]) -> Mask:
    """Return the voxels of a mask that are further than ``depth_mm`` from every voxel outside of it."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm) > depth_mm)


def _average(array: npt.NDArray[Any], factors: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the means of blocks; the last block of an axis may reach beyond its end, where the edge is repeated."""
    padding = [(0, -size % factor) for size, factor in zip(array.shape, factors, strict=True)]
    padded = np.pad(array, padding, mode="edge")
    for axis, factor in enumerate(factors):
        shape = (*padded.shape[:axis], -1, factor, *padded.shape[axis + 1 :])
        padded = padded.reshape(shape).mean(axis + 1, dtype=np.float32)
    return np.asarray(padded, np.float32)


def _large_parts(mask: Mask) -> Mask:
    """Return the parts (touching by a corner is enough) of at least a twentieth of the largest one."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= max(1, sizes.max() / 20))[parts])


def _bone_around(bone: Mask, image: Volume) -> tuple[npt.NDArray[np.uint8], Mask]:
    """Return in how many of eight horizontal directions bone lies, and whether it lies above; (Z, Y, X)."""
    vertical, *horizontal = patient_axes(image)
    axes = (vertical, *horizontal)
    turned = bone.transpose(axes)
    if image.affine[2, 2 - vertical] < 0:
        turned = turned[::-1]
    above = np.logical_or.accumulate(turned[::-1])[::-1]
    count = np.zeros(turned.shape, np.uint8)
    for step_y, step_x in product((-1, 0, 1), repeat=2):
        if (step_y, step_x) != (0, 0):
            count += _bone_towards(turned, step_y, step_x)
    if image.affine[2, 2 - vertical] < 0:
        count, above = count[::-1], above[::-1]
    back = np.argsort(axes)
    return count.transpose(back), above.transpose(back)


def _bone_towards(bone: Mask, step_y: int, step_x: int) -> Mask:
    """Return whether bone lies at a voxel or in the direction of a step from it; bone is (vertical, Y, X)."""
    if step_y == 0:
        return np.asarray(np.logical_or.accumulate(bone[:, :, ::-step_x], 2)[:, :, ::-step_x])
    seen = bone[:, ::-step_y].copy()
    for row in range(1, seen.shape[1]):
        before = seen[:, row - 1]
        if step_x == 0:
            seen[:, row] |= before
        elif step_x == 1:
            seen[:, row, :-1] |= before[:, 1:]
        else:
            seen[:, row, 1:] |= before[:, :-1]
    return seen[:, ::-step_y]


def _fill(mask: Mask, vertical: int) -> Mask:
    """Return the mask without holes, neither in the volume nor in an axial slice."""
    filled = np.moveaxis(ndimage.binary_fill_holes(mask), vertical, 0)
    return np.moveaxis(np.stack([ndimage.binary_fill_holes(part) for part in filled]), 0, vertical)


def _refine(mask: Mask, image: Volume, factors: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Mask:
    """Return a mask of working resolution at that of the image, with the rim where the image has it.

    Fluid, brain or blood beside bone has a part of the bone's brightness: the rim lies halfway up to bone, not where
    bone begins.
    """
    inner, outer = mask, mask
    for axis, mm in enumerate(spacing_mm):
        line = np.zeros((3, 3, 3), bool)
        line[1, 1, 1] = True
        line = ndimage.binary_dilation(line, np.moveaxis(np.ones((3, 1, 1), bool), 0, axis))
        if factors[axis] > 1:
            inner = ndimage.binary_erosion(inner, line, border_value=1)
        if mm <= 2 * RIM_MM:
            outer = ndimage.binary_dilation(outer, line, iterations=math.ceil(RIM_MM / mm))
    inner, outer = (_repeat(part, factors, image.array.shape) for part in (inner, outer))
    return inner | (outer & (image.array > SOFT_TISSUE_HU) & (image.array <= RIM_HU))


def _repeat(mask: Mask, factors: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    for axis, factor in enumerate(factors):
        mask = np.repeat(mask, factor, axis) if factor > 1 else mask
    return mask[tuple(slice(size) for size in shape)]
