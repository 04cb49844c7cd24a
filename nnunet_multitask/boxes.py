"""The smallest box around what an array holds: everything after it looks at that box alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
WORD = np.dtype(np.uint64)


def bounding_box(array: NDArray[Any]) -> Box | None:
    """Return the smallest box with every voxel of an array that is not 0.

    Args:
        array: (*S) bool or numbers; any memory order.

    Returns:
        One slice an axis, or None where every voxel is 0.
    """
    if not array.size:
        return None
    if array.flags.f_contiguous and not array.flags.c_contiguous:  # walk the memory in its own order
        box = bounding_box(array.T)
        return None if box is None else box[::-1]
    if array.dtype.kind not in "biu":
        array = array != 0
    box_so_far: list[slice] = []
    for _ in range(array.ndim):
        rows = _as_words(array)
        occupied = np.flatnonzero(np.bitwise_or.reduce(rows, axis=1))
        if not occupied.size:
            return None
        extent = slice(int(occupied[0]), int(occupied[-1]) + 1)
        box_so_far.append(extent)
        array = np.bitwise_or.reduce(rows[extent], axis=0).view(array.dtype).reshape(array.shape[1:])
    return tuple(box_so_far)


def union_box(first: NDArray[Any], second: NDArray[Any]) -> Box | None:
    """Return the smallest box with every voxel of two arrays of one shape that is not 0, or None: `bounding_box`."""
    boxes = [box for box in (bounding_box(first), bounding_box(second)) if box is not None]
    if not boxes:
        return None
    return join_boxes(boxes)


def join_boxes(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds some boxes, at least one, of one number of axes."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _as_words(array: NDArray[Any]) -> NDArray[Any]:
    """The array as one row for each index of its first axis, eight bytes at once where they come out even."""
    rows = array.reshape(len(array), -1)
    is_even = rows.flags.c_contiguous and rows.shape[1] * rows.itemsize % WORD.itemsize == 0
    return rows.view(WORD) if is_even else rows
