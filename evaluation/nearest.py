"""The nearest of some voxels to each of others, exactly: what a distance transform gives, without paying for a volume.

Most border voxels have their nearest one close by. It is looked for in the rows (along the last axis) around them, the
nearest row first, in a table of the nearest voxel along each row. What is far from everything, as a false positive in
another part of the head is, is left over for a k-d tree; where very much is, as around a mask that fills the array, for
a distance transform of the whole box.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

# rows are searched in rings around a voxel: those as far before it as behind it, along each axis but the last
MAX_RINGS = 64
FAR_RINGS = 1000  # about as far as 36 voxels
# a distance transform looks each voxel up some ten times, and takes much memory
LOOKUPS_PER_VOXEL = 8
# cost of a tree in rows looked up, measured: to ask for one voxel, and to put one into it
LOOKUPS_PER_TREE_QUERY = 100
LOOKUPS_PER_TREE_POINT = 8
# a tree may look at many points for a voxel far from a plane of them: where all would be looked at and more than this
# many for each voxel of the box, a distance transform of the box is the safer way
POINTS_PER_VOXEL = 64
# several voxels may be equally near up to rounding: the tree returns this many, and the shortest exact length counts
TIE_NEIGHBOURS = 4
ROUNDING = 1e-9


def nearest_distances(
    queries: NDArray[np.intp], points: NDArray[np.intp], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far voxels are from the nearest of some others.

    Distances are computed from whole voxel offsets, their squares summed in the order of the axes, as a distance
    transform does. So they equal its values to the last bit.

    Args:
        queries: (D, N) indices of voxels, N at least 1.
        points: (D, M) indices of voxels in C order, M at least 1.
        spacing: (D,) voxel size in mm along each axis.

    Returns:
        (N,) distances in mm.
    """
    rings, squared_mm = _rings(tuple(spacing[:-1].tolist()), MAX_RINGS)
    # nothing further than the outermost ring is found in it: what is that far from all others is left out
    squared = np.full(queries.shape[1], np.inf)
    near = _near_box(queries, points, spacing, squared_mm[len(rings)])
    if near.any():
        asked = _chosen(queries, near)
        shown = _chosen(points, _near_box(points, asked, spacing, squared_mm[len(rings)]))
        if shown.size:
            limit = LOOKUPS_PER_TREE_QUERY * asked.shape[1] + LOOKUPS_PER_TREE_POINT * shown.shape[1]
            squared[near] = _search_rows(asked, shown, spacing, rings, squared_mm, limit)
    far = np.flatnonzero(np.isinf(squared))
    if far.size:
        squared[far] = _search_far(queries.take(far, axis=1), points, spacing)
    return np.sqrt(squared)


def _search_far(
    queries: NDArray[np.intp], points: NDArray[np.intp], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distances (N,) of voxels that have nothing close by."""
    ends = np.stack((queries.max(axis=1), points.max(axis=1), -queries.min(axis=1), -points.min(axis=1)))
    volume = math.prod((ends[:2].max(axis=0) + ends[2:].max(axis=0) + 1).tolist())
    if POINTS_PER_VOXEL * volume >= queries.shape[1] * points.shape[1]:
        return _search_tree(queries, points, spacing)
    squared = np.full(queries.shape[1], np.inf)
    if len(spacing) <= 3:  # the volume costs so much that looking further in the rows is worth the while
        rings = _rings(tuple(spacing[:-1].tolist()), FAR_RINGS)
        squared = _search_rows(queries, points, spacing, *rings, LOOKUPS_PER_VOXEL * volume)
    left = np.flatnonzero(np.isinf(squared))
    if left.size:
        squared[left] = _search_volume(queries.take(left, axis=1), points, spacing)
    return squared


def _near_box(
    voxels: NDArray[np.intp], others: NDArray[np.intp], spacing: NDArray[np.float64], squared_mm: float
) -> NDArray[np.bool_]:
    """Which of some voxels (D, N) are as near as that to the box around others."""
    low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)

    def outside_mm(some: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.maximum(np.maximum(low - some, some - high), 0) * spacing[:, None]

    ends = np.stack((voxels.min(axis=1), voxels.max(axis=1)), axis=1)
    if np.add.reduce(outside_mm(ends).max(axis=1) ** 2) <= squared_mm:  # as a rule: all of them
        return np.ones(voxels.shape[1], dtype=bool)
    return np.add.reduce(outside_mm(voxels) ** 2, axis=0) <= squared_mm


def _chosen(voxels: NDArray[np.intp], wanted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Some of the voxels (D, N), the indices of an axis side by side in memory."""
    return voxels if wanted.all() else voxels.compress(wanted, axis=1)


def _search_rows(
    queries: NDArray[np.intp],
    points: NDArray[np.intp],
    spacing: NDArray[np.float64],
    rings: NDArray[np.intp],
    squared_mm: NDArray[np.float64],
    limit: int,
) -> NDArray[np.float64]:
    """Squared distances (N,), infinite for those not found before so many rows were looked up, or within the rings."""
    low = np.minimum(queries.min(axis=1), points.min(axis=1))
    size = np.maximum(queries.max(axis=1), points.max(axis=1)) - low + 1
    # rows are numbered in C order, in a frame as wide as the search reaches
    reach = rings.max(axis=0)
    frame = size[:-1] + 2 * reach
    strides = np.array([math.prod(frame[axis + 1 :].tolist()) for axis in range(len(frame))], dtype=np.intp)
    point_rows, rows = (strides @ voxels[:-1] + strides @ (reach - low[:-1]) for voxels in (points, queries))
    columns, width = queries[-1] - low[-1], int(size[-1])
    lines, gaps = _row_table(point_rows, points[-1] - low[-1], math.prod(frame.tolist()), width)
    # squared distance along a row by the gap in voxels; as many as the row is wide, or more, say that the row is empty
    squared_gap = np.append((np.arange(width) * spacing[-1]) ** 2, np.full(width + 1, np.inf))

    found = np.full(len(rows), np.inf)
    pending, best = np.arange(len(rows)), found.copy()
    cost = 0
    for shifts, across, beyond in zip(_shifts(rings, strides), squared_mm, squared_mm[1:], strict=False):
        for shift in shifts:
            gap = gaps.take(lines.take(rows + shift) + columns)
            np.minimum(best, across + squared_gap.take(gap), out=best)
            cost += len(pending)
        is_done = best < beyond * (1.0 - ROUNDING)  # else a row of the next ring may be as near
        found[pending[is_done]] = best[is_done]
        left = np.flatnonzero(~is_done)
        if not left.size or cost > limit:
            break
        if left.size < 0.75 * len(pending):  # else looking up some in vain is cheaper
            pending, rows, columns, best = pending[left], rows[left], columns[left], best[left]
    return found


@lru_cache(maxsize=8)
def _rings(spacing: tuple[float, ...], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Offsets to rows (K, D - 1), none negative, the shortest first, and their squared lengths in mm.

    One more length tells how far the first row beyond these is: infinitely where there is no other row.
    """
    axes, extent = len(spacing), count + 1
    offsets = np.indices((extent,) * axes).reshape(axes, extent**axes)
    squared = np.add.reduce((offsets * np.array(spacing).reshape(axes, 1)) ** 2, axis=0)
    order = np.argsort(squared, kind="stable")[:extent]
    return offsets[:, order[:count]].T, np.append(squared[order], np.inf)


def _shifts(rings: NDArray[np.intp], strides: NDArray[np.intp]) -> list[list[int]]:
    """Differences in row number to the rows of each ring (K, D - 1): each offset to either side, but 0 once."""
    axes = rings.shape[1]
    signs = np.array(list(itertools.product((1, -1), repeat=axes)), dtype=np.intp).reshape(2**axes, axes)
    shifts = (rings * strides) @ signs.T
    return [list(dict.fromkeys(ring)) for ring in shifts.tolist()]


def _row_table(
    rows: NDArray[np.intp], columns: NDArray[np.intp], row_count: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.signedinteger]]:
    """Where the nearest of some voxels, given by row and column (M,) in C order, is along each row that holds one.

    Returns:
        For each row where its line of the table begins (empty rows: line 0), and the table (lines, width): voxels to
        the nearest one of the row, `width` or more in line 0.
    """
    line = np.cumsum(np.diff(rows, prepend=-1) != 0)
    begins = np.zeros(row_count, dtype=np.intp)
    begins[rows] = line * width
    marked = np.zeros((int(line[-1]) + 1, width), dtype=bool)
    marked[line, columns] = True
    dtype = np.min_scalar_type(-2 * width - 1)  # in a wide box the table is what takes memory
    here = np.arange(width, dtype=dtype)
    before = np.where(marked, here, dtype.type(-width))
    np.maximum.accumulate(before, axis=1, out=before)
    np.subtract(here, before, out=before)
    behind = np.where(marked, here, dtype.type(2 * width))
    backwards = behind[:, ::-1]
    np.minimum.accumulate(backwards, axis=1, out=backwards)
    np.subtract(behind, here, out=behind)
    return begins, np.minimum(before, behind, out=before)


def _search_tree(
    queries: NDArray[np.intp], points: NDArray[np.intp], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distances (N,) by a k-d tree. It works on rounded positions in mm, and only finds the neighbours."""
    # asked too rarely to earn its balance
    tree = cKDTree(points.T * spacing, balanced_tree=False, compact_nodes=False)
    _, neighbours = tree.query(queries.T * spacing, k=[*range(1, min(TIE_NEIGHBOURS, points.shape[1]) + 1)])
    offsets = points[:, neighbours] - queries[:, :, None]  # (D, N, k)
    squared: NDArray[np.float64] = np.add.reduce((offsets * spacing[:, None, None]) ** 2, axis=0).min(axis=1)
    return squared


def _search_volume(
    queries: NDArray[np.intp], points: NDArray[np.intp], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distances (N,) by a Euclidean feature transform of the box around all voxels."""
    low = np.minimum(queries.min(axis=1), points.min(axis=1))[:, None]
    high = np.maximum(queries.max(axis=1), points.max(axis=1))[:, None]
    outside = np.ones((high - low + 1).ravel(), dtype=bool)
    outside[tuple(points - low)] = False
    indices = distance_transform_edt(outside, sampling=spacing, return_distances=False, return_indices=True)
    here = queries - low
    offsets = indices[(slice(None), *here)] - here  # (D, N)
    squared: NDArray[np.float64] = np.add.reduce((offsets * spacing[:, None]) ** 2, axis=0)
    return squared
