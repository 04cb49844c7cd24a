"""Distances between the borders of two masks, in mm: the numbers behind HD, HD95, ASSD and MASD.

The border of a mask is the set of its voxels with at least one of the 2 * D face neighbours outside the mask; what
lies outside the array counts as outside the mask. Every border voxel of one mask has a distance to the nearest border
voxel of the other. These are the definitions of medpy 0.5.2, whose values the tests compare bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

# a distance transform pays for every voxel of the box, a tree for every border voxel: measured, they break even here
VOXELS_PER_BORDER_VOXEL = 10
# several voxels may be equally near up to rounding: the tree returns this many, and the shortest exact length counts
TIE_NEIGHBOURS = 4


@dataclass(frozen=True)
class BoundaryDistances:
    """Distances between two borders, both non-empty.

    Args:
        to_reference: (P,) float64, mm; for each border voxel of the prediction, in C order of the array.
        to_prediction: (R,) float64, mm; for each border voxel of the reference.
    """

    to_reference: NDArray[np.float64]
    to_prediction: NDArray[np.float64]

    @cached_property
    def hd(self) -> float:
        """Hausdorff distance in mm: the largest of all distances."""
        return float(max(self.to_reference.max(), self.to_prediction.max()))

    @cached_property
    def hd95(self) -> float:
        """95th percentile (linear interpolation) of the pooled distances in mm, as medpy computes it."""
        return float(np.percentile(np.concatenate((self.to_reference, self.to_prediction)), 95))

    @cached_property
    def hd95_directed(self) -> float:
        """Maximum of the two directed 95th percentiles in mm, as MONAI and Metrics Reloaded compute it."""
        return float(max(np.percentile(self.to_reference, 95), np.percentile(self.to_prediction, 95)))

    @cached_property
    def assd(self) -> float:
        """Average symmetric surface distance in mm: mean of the pooled distances."""
        return float(np.concatenate((self.to_reference, self.to_prediction)).mean())

    @cached_property
    def masd(self) -> float:
        """Mean average surface distance in mm: mean of the two directed means."""
        return float(np.mean((self.to_reference.mean(), self.to_prediction.mean())))


def boundary_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], *, spacing_mm: Sequence[float]
) -> BoundaryDistances:
    """Return the distances between the borders of two masks.

    Args:
        reference: (*S) bool, any number of axes, any memory order, at least one voxel set.
        prediction: (*S) bool, likewise.
        spacing_mm: voxel size along each axis of the arrays, in their order.

    Raises:
        ValueError: where a mask is empty: there is no distance then.
    """
    box = union_box(reference, prediction)
    if box is None or not reference[box].any() or not prediction[box].any():
        raise ValueError("expected two masks with at least one voxel each, got an empty one")
    return cropped_boundary_distances(reference[box], prediction[box], np.asarray(spacing_mm, dtype=np.float64))


def cropped_boundary_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> BoundaryDistances:
    """As `boundary_distances`, for two non-empty masks already cut to `union_box`."""
    reference_border = border(reference)
    prediction_border = border(prediction)
    points = np.count_nonzero(reference_border) + np.count_nonzero(prediction_border)
    nearest = _by_transform if reference.size <= VOXELS_PER_BORDER_VOXEL * points else _by_tree
    return BoundaryDistances(
        to_reference=nearest(prediction_border, reference_border, spacing),
        to_prediction=nearest(reference_border, prediction_border, spacing),
    )


def union_box(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the smallest box that holds both masks, or None where both are empty."""
    boxes = [box for box in (_bounding_box(reference), _bounding_box(prediction)) if box is not None]
    if not boxes:
        return None
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask (*S) that touch its outside, or the array's edge, with a face."""
    padded = np.pad(mask, 1)
    centre = (slice(1, -1),) * mask.ndim
    inner = padded[centre].copy()
    for axis in range(mask.ndim):
        neighbour = list(centre)
        for neighbour[axis] in (slice(0, -2), slice(2, None)):
            inner &= padded[tuple(neighbour)]
    return padded[centre] & ~inner


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:  # walk the memory in its own order
        box = _bounding_box(mask.T)
        return None if box is None else box[::-1]
    box_so_far: list[slice] = []
    for _ in range(mask.ndim):
        occupied = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
        if not occupied.size:
            return None
        extent = slice(int(occupied[0]), int(occupied[-1]) + 1)
        box_so_far.append(extent)
        mask = np.logical_or.reduce(mask[extent], axis=0)
    return tuple(box_so_far)


def _by_transform(
    start: NDArray[np.bool_], target: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances from the voxels of `start` to `target` through a Euclidean feature transform of the whole box."""
    indices = distance_transform_edt(~target, sampling=spacing, return_distances=False, return_indices=True)
    offsets = indices[:, start] - np.array(np.nonzero(start), dtype=indices.dtype)
    return _length(offsets, spacing)


def _by_tree(start: NDArray[np.bool_], target: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances from the voxels of `start` to `target` through a k-d tree over the voxels of `target`.

    The tree works on rounded positions in mm and only finds the neighbours. Distances are then computed from whole
    voxel offsets, as a distance transform does, so that both ways agree to the last bit.
    """
    distances = np.zeros(np.count_nonzero(start))
    apart = ~target[start]  # voxels on both borders keep the distance 0
    queries = np.argwhere(start & ~target)
    if not len(queries):
        return distances
    points = np.argwhere(target)
    k = min(TIE_NEIGHBOURS, len(points))
    _, found = cKDTree(points * spacing).query(queries * spacing, k=[*range(1, k + 1)])
    offsets = points[found] - queries[:, None]  # (N, k, D)
    distances[apart] = _length(np.moveaxis(offsets, -1, 0), spacing).min(axis=-1)
    return distances


def _length(offsets: NDArray[np.integer], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length in mm of voxel offsets (D, ...), summed in the order of the axes."""
    squared = (offsets * spacing.reshape(-1, *[1] * (offsets.ndim - 1))) ** 2
    return np.sqrt(np.add.reduce(squared, axis=0))
