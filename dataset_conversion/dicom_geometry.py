"""Where the slices of a stack lie, and how to bring them onto one grid with axes at right angles.

All positions are in LPS+ millimetres, as in DICOM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.dicom_headers import SliceHeader

POSITION_TOLERANCE_MM = 0.1  # headers round; this is a fifth of the pixel of a head CT
MISSING_GAP_FACTOR = 1.5  # a gap this much wider than each gap beside it speaks for missing slices

_WHOLE_VOXEL = 1e-3  # a shift this near to whole voxels needs no interpolation

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StackGeometry:
    """Positions of parallel slices in axes of their own: along a row, along a column, along the normal.

    Args:
        offsets_mm: (N, 3) where the first pixel of each slice lies from that of the first, along (row, column, normal).
        axes: (3, 3) unit vectors along row, column and normal as its columns, LPS+.
        origin_mm: (3,) position of the first slice's first pixel, LPS+.
        pixel_spacing_mm: distance between rows, and between columns.
        shape: rows and columns.
    """

    offsets_mm: Vector
    axes: Vector
    origin_mm: Vector
    pixel_spacing_mm: tuple[float, float]
    shape: tuple[int, int]

    @classmethod
    def of(cls, slices: Sequence[SliceHeader]) -> StackGeometry:
        """Return the geometry of slices in the order of their positions along the normal, two at least."""
        first = slices[0]
        axes = np.column_stack((first.orientation[:3], first.orientation[3:], first.normal))
        positions = np.array([header.position_mm for header in slices])
        return cls((positions - positions[0]) @ axes, axes, positions[0], first.pixel_spacing_mm, first.shape)

    @property
    def gaps_mm(self) -> Vector:
        """Distance of each slice to the next along the normal, (N - 1,)."""
        return np.diff(self.offsets_mm[:, 2])

    @property
    def tilt_degrees(self) -> float:
        """Angle between the normal and the way from the first slice to the last; 0 for a stack at right angles."""
        along = self.offsets_mm[-1]
        return float(np.degrees(np.arctan2(np.hypot(along[0], along[1]), along[2])))

    @property
    def is_even(self) -> bool:
        """Whether every slice lies within 0.1 mm of the even spacing between first and last."""
        depths = self.offsets_mm[:, 2]
        return bool(np.abs(depths - np.linspace(0, depths[-1], len(depths))).max() <= POSITION_TOLERANCE_MM)

    @property
    def is_upright(self) -> bool:
        """Whether the slices lie exactly above each other, within 0.1 mm: no gantry tilt, no moving table."""
        return bool(np.abs(self.offsets_mm[:, :2]).max() <= POSITION_TOLERANCE_MM)

    def wide_gaps(self) -> list[int]:
        """Return the index of each gap that is 1.5 times as wide as each gap beside it; needs two gaps."""
        gaps = self.gaps_mm
        found = []
        for index, gap in enumerate(gaps):
            beside = [gaps[other] for other in (index - 1, index + 1) if 0 <= other < len(gaps)]
            if beside and gap >= MISSING_GAP_FACTOR * max(beside):
                found.append(index)
        return found

    def affine(self, spacing_z_mm: float, offset_mm: Sequence[float] = (0, 0, 0)) -> Vector:
        """Return the (4, 4) affine from index (x, y, z) to LPS+ mm of a grid along the axes of the slices.

        Args:
            spacing_z_mm: distance of its planes.
            offset_mm: of its first voxel along (row, column, normal), from the first pixel of the first slice.
        """
        affine = np.eye(4)
        affine[:3, :3] = self.axes * (self.pixel_spacing_mm[1], self.pixel_spacing_mm[0], spacing_z_mm)
        affine[:3, 3] = self.origin_mm + self.axes @ np.asarray(offset_mm, np.float64)
        return affine


@dataclass(frozen=True)
class Grid:
    """The grid at right angles that a stack is resampled to.

    Args:
        shape: planes, rows, columns.
        affine: (4, 4), index (x, y, z) to LPS+ mm.
        shifts: (N, 2) by how many voxels along (x, y) each slice is moved on it.
        depths: of each plane, as a fractional index into the slices, (planes,).
    """

    shape: tuple[int, int, int]
    affine: Vector
    shifts: Vector
    depths: Vector


def make_grid(geometry: StackGeometry, slice_spacing_mm: float | None = None) -> Grid:
    """Return the grid for a stack: along row, column and normal of its slices, which so stay whole.

    Pixel spacing is kept. Planes lie evenly from the first slice to the last; their distance is the one nearest to the
    median gap that divides this way. Rows and columns are added until every pixel of every slice is covered, and the
    slice in the middle falls on whole voxels.

    Args:
        geometry: of the slices.
        slice_spacing_mm: in place of the median gap.
    """
    depths = geometry.offsets_mm[:, 2]
    wanted = slice_spacing_mm or float(np.median(geometry.gaps_mm))
    num_steps = max(1, round(depths[-1] / wanted))
    spacing_xy = np.array([geometry.pixel_spacing_mm[1], geometry.pixel_spacing_mm[0]])
    offsets = geometry.offsets_mm[:, :2] / spacing_xy
    if geometry.is_upright:
        offsets = np.zeros_like(offsets)
    middle = offsets[len(offsets) // 2]
    relative = offsets - middle
    whole = np.rint(relative)
    relative = np.where(np.abs(relative - whole) < _WHOLE_VOXEL, whole, relative)
    low, high = np.floor(relative.min(axis=0)), np.ceil(relative.max(axis=0))
    columns, rows = (np.array(geometry.shape[::-1]) + high - low).astype(int)
    start_mm = (*((middle + low) * spacing_xy), 0.0)
    planes = np.linspace(0, depths[-1], num_steps + 1)
    fractions = np.interp(planes, depths, np.arange(len(depths)))
    if geometry.is_even and num_steps == len(depths) - 1:
        fractions = np.rint(fractions)  # each plane is a slice
    return Grid(
        shape=(num_steps + 1, int(rows), int(columns)),
        affine=geometry.affine(depths[-1] / num_steps, start_mm),
        shifts=relative - low,
        depths=fractions,
    )


def resample(grid: Grid, read: Callable[[int], npt.NDArray[np.floating]], outside: float) -> Iterator[npt.NDArray]:
    """Yield each plane of a grid as float32: linear within the slices, linear between the two slices beside it.

    Args:
        grid: from ``make_grid``.
        read: returns the pixels of slice i, (rows, columns); called once at most, in order.
        outside: the value where a slice has no pixel.
    """
    held: dict[int, npt.NDArray] = {}
    for depth in grid.depths:
        below = min(int(depth + 1e-6), len(grid.shifts) - 1)
        weight = max(0.0, depth - below)
        wanted = [below] if weight < 1e-6 else [below, below + 1]
        held = {index: plane for index, plane in held.items() if index >= below}
        for index in wanted:
            if index not in held:
                held[index] = _shifted(read(index), grid.shifts[index], grid.shape[1:], outside)
        plane = held[below]
        yield plane if len(wanted) == 1 else (1 - weight) * plane + weight * held[below + 1]


def _shifted(
    pixels: npt.NDArray, shift: npt.NDArray[np.float64], shape: tuple[int, ...], outside: float
) -> npt.NDArray[np.float32]:
    """Return a slice moved by ``shift`` voxels along (x, y), 0 or more each, on a larger plane."""
    (x, y), (part_x, part_y) = np.floor(shift).astype(int), shift - np.floor(shift)
    plane = np.full(shape, outside, np.float32)
    plane[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    for axis, part in ((0, np.float32(part_y)), (1, np.float32(part_x))):
        if part > 0:
            before = np.roll(plane, 1, axis)  # the last row or column is outside: the shift fits the plane
            plane = (1 - part) * plane + part * before
    return plane
