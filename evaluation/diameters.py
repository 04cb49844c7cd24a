"""Lesions as a reader measures them on axial slices: the largest diameter, and the volume by the rule ABC/2.

The outline of a lesion on a slice runs through the middle of the outer edges of its voxels. So a lesion of one voxel is
as wide as the voxel, and the diameter of a disc is right to half a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from nnunet_multitask.evaluation.components import Lesions, find_lesions

DEFINITIONS = {
    "axial_axis": "axial slices stand at right angles to the array axis that runs most nearly from foot to head by the "
    "affine of the reference (geometry: axial_axis); oblique scans are not resampled",
    "reference_largest_diameter_mm": "largest distance in mm between two points of the outline of a lesion "
    "(26-connected) of the reference on an axial slice; over all lesions and slices",
    "reference_abc2_ml": "volume of the reference by A x B x C / 2 in mL, summed over its lesions (26-connected): A "
    "the largest diameter on the slice with the largest area, B the longest line at a right angle to A inside the "
    "convex outline, C the slice spacing times the number of slices, a slice counting 1 where its area is above 75 % "
    "of the largest, 0.5 from 25 to 75 %, else 0 (Kothari et al. 1996)",
}
FULL_SLICE, HALF_SLICE = 0.75, 0.25
DIRECTIONS = 8


def largest_diameter_mm(mask: ArrayLike, *, spacing_mm: Sequence[float]) -> float:
    """Return the largest diameter of any lesion on any slice.

    Args:
        mask: (Z, Y, X) bool; the first axis counts the axial slices, whatever the scan's own order is.
        spacing_mm: (z, y, x).

    Returns:
        Millimetres; 0 for an empty mask. See `DEFINITIONS`.
    """
    return lesion_sizes(find_lesions(np.asarray(mask, dtype=bool)), spacing_mm)[0]


def abc2_ml(mask: ArrayLike, *, spacing_mm: Sequence[float]) -> float:
    """Return the volume that a reader gets by the rule ABC/2.

    The rule takes a lesion for an ellipsoid: it is made for intracerebral hematomas, and no good for blood in
    ventricles or along the skull.

    Args:
        mask: (Z, Y, X) bool; the first axis counts the axial slices, whatever the scan's own order is.
        spacing_mm: (z, y, x).

    Returns:
        Millilitres; 0 for an empty mask.

    Source: R. U. Kothari et al., The ABCs of measuring intracerebral hemorrhage volumes, Stroke 27, 1996.
    """
    return lesion_sizes(find_lesions(np.asarray(mask, dtype=bool)), spacing_mm)[1]


def lesion_sizes(lesions: Lesions, spacing_mm: Sequence[float]) -> tuple[float, float]:
    """Return largest diameter in mm and ABC/2 in mL of lesions; see `DEFINITIONS`."""
    if not lesions.count:
        return 0.0, 0.0
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    sections = _Sections.of(lesions)
    main = sections.largest_of_lesions()
    measured: dict[bytes, tuple[float, float]] = {}  # speckles are many, and of few shapes

    def diameters(section: int) -> tuple[float, float]:
        shape = sections.shape_of(section)
        key = shape.tobytes()
        if key not in measured:
            measured[key] = _diameters(_outline_mm(shape, spacing))
        return measured[key]

    largest, abc = 0.0, 0.0
    for section, slices in zip(main.tolist(), sections.counted_slices().tolist(), strict=True):
        a, b = diameters(section)
        largest = max(largest, a)
        abc += a * b * slices * spacing[0] / 2
    # the other sections only where they could be wider
    bounds = sections.longest_diameters_mm(spacing)
    bounds[main] = 0.0
    for section in np.argsort(-bounds, kind="stable").tolist():
        if bounds[section] <= largest:
            break
        largest = max(largest, diameters(section)[0])
    return float(largest), float(abc / 1000.0)


@dataclass(frozen=True)
class _Sections:
    """The lesions slice by slice, in the order of lesions, then of slices.

    Args:
        lesion: (S,) which lesion each section belongs to.
        first_run: (S,) where its runs begin in the following.
        y, start, stop: (N,) row, first voxel, and first voxel behind, of each run.
        area: (S,) voxels.
    """

    lesion: NDArray[np.intp]
    first_run: NDArray[np.intp]
    y: NDArray[np.intp]
    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    area: NDArray[np.intp]

    @classmethod
    def of(cls, lesions: Lesions) -> _Sections:
        key = lesions.of_run * lesions.shape[0] + lesions.z
        order = np.argsort(key, kind="stable")
        first_run = np.flatnonzero(np.diff(key[order], prepend=-1))
        y, start, stop = lesions.y[order], lesions.start[order], lesions.stop[order]
        area = np.add.reduceat(stop - start, first_run)
        return cls(lesions.of_run[order][first_run], first_run, y, start, stop, area)

    def largest_of_lesions(self) -> NDArray[np.intp]:
        """The section with the largest area of each lesion, (L,)."""
        by_area = np.lexsort((-self.area, self.lesion))
        return by_area[np.flatnonzero(np.diff(self.lesion[by_area], prepend=-1))]

    def counted_slices(self) -> NDArray[np.float64]:
        """How many slices each lesion counts for in ABC/2, (L,)."""
        share = self.area / self.area[self.largest_of_lesions()][self.lesion]
        weights = np.where(share > FULL_SLICE, 1.0, np.where(share >= HALF_SLICE, 0.5, 0.0))
        return np.bincount(self.lesion, weights).astype(np.float64)

    def longest_diameters_mm(self, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
        """A bound that the diameter of each section (S,) cannot exceed, within 2 % of it."""
        points = _edge_middles(self.y, self.start, self.stop) * spacing[1:, None, None]
        widest = np.zeros(len(self.area))
        for angle in np.arange(DIRECTIONS) * (np.pi / DIRECTIONS):
            heights = np.sin(angle) * points[0] + np.cos(angle) * points[1]  # (6, N)
            top = np.maximum.reduceat(heights.max(axis=0), self.first_run)
            np.maximum(widest, top - np.minimum.reduceat(heights.min(axis=0), self.first_run), out=widest)
        # some direction is within half a step of the diameter's own
        return widest / np.cos(np.pi / (2 * DIRECTIONS))

    def shape_of(self, section: int) -> NDArray[np.intp]:
        """Rows, first voxels, and first voxels behind, of the runs of a section (R, 3), from its own corner on."""
        runs = slice(self.first_run[section], self.first_run[section + 1] if section + 1 < len(self.area) else None)
        shape = np.stack((self.y[runs], self.start[runs], self.stop[runs]), axis=1)
        shape[:, 0] -= shape[0, 0]  # the first run has the first row
        shape[:, 1:] -= shape[:, 1].min()
        return shape


def _outline_mm(shape: NDArray[np.intp], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners (V, 2), in order, of the convex outline of a section (R, 3), (y, x) in mm."""
    points = _edge_middles(*shape.T).reshape(2, -1).T * spacing[1:]
    return points[ConvexHull(points).vertices]


def _edge_middles(y: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp]) -> NDArray[np.float64]:
    """Middles (2, 6, N), (y, x) in voxels, of the outer edges at both ends of runs; the others lie between these."""
    rows = np.stack((y, y, y - 0.5, y - 0.5, y + 0.5, y + 0.5))
    columns = np.stack((start - 0.5, stop - 0.5, start, stop - 1.0, start, stop - 1.0))
    return np.stack((rows, columns))


def _diameters(outline: NDArray[np.float64]) -> tuple[float, float]:
    """Largest distance between two corners (V, 2) of a convex outline, and the longest line at a right angle to it."""
    distances = cdist(outline, outline)
    one, other = np.unravel_index(int(distances.argmax()), distances.shape)
    length = float(distances[one, other])
    along = (outline[other] - outline[one]) / length
    corners = np.roll(outline - outline[one], -one, axis=0) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
    # from one end of the diameter to the other on either side
    turn = (other - one) % len(outline)
    sides = corners[: turn + 1], np.append(corners[turn:], corners[:1], axis=0)[::-1]
    heights = [np.interp(corners[:, 0], side[:, 0], side[:, 1]) for side in sides]
    return length, float(np.abs(heights[0] - heights[1]).max())
