"""Distances between the borders of two masks, in mm: the numbers behind HD, HD95, ASSD, MASD and NSD.

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

from nnunet_multitask.boxes import bounding_box, union_box
from nnunet_multitask.evaluation.nearest import nearest_distances

# spacings are often stored in single precision: a border as far away as the tolerance is within it
RELATIVE_SLACK = 1e-6


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
    def _pooled(self) -> NDArray[np.float64]:
        return np.concatenate((self.to_reference, self.to_prediction))

    @cached_property
    def hd(self) -> float:
        """Hausdorff distance in mm: the largest of all distances."""
        return float(max(self.to_reference.max(), self.to_prediction.max()))

    @cached_property
    def hd95(self) -> float:
        """95th percentile (linear interpolation) of the pooled distances in mm, as medpy computes it."""
        return percentile_95(self._pooled)

    @cached_property
    def hd95_directed(self) -> float:
        """Maximum of the two directed 95th percentiles in mm, as MONAI and Metrics Reloaded compute it."""
        return max(percentile_95(self.to_reference), percentile_95(self.to_prediction))

    @cached_property
    def assd(self) -> float:
        """Average symmetric surface distance in mm: mean of the pooled distances."""
        return float(self._pooled.mean())

    @cached_property
    def masd(self) -> float:
        """Mean average surface distance in mm: mean of the two directed means."""
        return float(np.mean((self.to_reference.mean(), self.to_prediction.mean())))

    def nsd(self, tolerance_mm: float) -> float:
        """Return the normalized surface distance: share of both borders' voxels within the tolerance of the other.

        Args:
            tolerance_mm: 0 or more; a distance equal to it up to 1e-6 of its value is within it.

        Source: S. Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy,
        J Med Internet Res 23, 2021; counted by border voxels as in MONAI and Metrics Reloaded, not by surface area.
        """
        limit = tolerance_mm * (1.0 + RELATIVE_SLACK)
        within = sum(int(np.count_nonzero(side <= limit)) for side in (self.to_reference, self.to_prediction))
        return within / (self.to_reference.size + self.to_prediction.size)


def percentile_95(values: NDArray[np.float64]) -> float:
    """Return the 95th percentile with linear interpolation, to the last bit that of ``numpy.percentile``.

    Args:
        values: (N,) finite, N at least 1.
    """
    place = (len(values) - 1) * (95 / 100)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    parted = np.partition(values, (low, high))  # what takes time in numpy.percentile is all around it
    below, above, share = float(parted[low]), float(parted[high]), place - low
    step = above - below
    return below + step * share if share < 0.5 else above - step * (1 - share)


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
    reference_border, prediction_border = _border_positions(reference), _border_positions(prediction)
    return BoundaryDistances(
        to_reference=nearest_distances(prediction_border, reference_border, spacing),
        to_prediction=nearest_distances(reference_border, prediction_border, spacing),
    )


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


def _border_positions(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices (D, N), in C order, of the border voxels of a mask that is not empty."""
    box = bounding_box(mask)
    assert box is not None
    shell = border(mask[box])
    # in a wide box several times faster than np.nonzero
    positions = np.array(np.unravel_index(np.flatnonzero(shell), shell.shape))
    return positions + np.array([[extent.start] for extent in box])
