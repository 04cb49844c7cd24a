"""The smallest box around what an array holds: everything after it looks at that box alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(array: NDArray[Any]) -> Box | None:
    """Return the smallest box with every voxel of an array that is not 0.

    Args:
        array: (*S) bool, or numbers that are not negative; any memory order.

    Returns:
        One slice an axis, or None where every voxel is 0.
    """
    if not array.size:
        return None
    if array.flags.f_contiguous and not array.flags.c_contiguous:  # walk the memory in its own order
        box = bounding_box(array.T)
        return None if box is None else box[::-1]
    box_so_far: list[slice] = []
    for _ in range(array.ndim):
        # the maximum of integers is several times faster than any(), and as fast for bool
        occupied = np.flatnonzero(array.reshape(len(array), -1).max(axis=1))
        if not occupied.size:
            return None
        extent = slice(int(occupied[0]), int(occupied[-1]) + 1)
        box_so_far.append(extent)
        array = array[extent].max(axis=0)
    return tuple(box_so_far)


def union_box(first: NDArray[Any], second: NDArray[Any]) -> Box | None:
    """Return the smallest box with every voxel of two arrays of one shape that is not 0, or None: `bounding_box`."""
    boxes = [box for box in (bounding_box(first), bounding_box(second)) if box is not None]
    if not boxes:
        return None
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
