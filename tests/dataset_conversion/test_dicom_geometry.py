"""Slices at their true positions: what is linear in space stays so, whatever the tilt and the gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_multitask.dataset_conversion.dicom_geometry import StackGeometry, make_grid, resample
from nnunet_multitask.dataset_conversion.dicom_headers import SliceHeader

SHAPE = (7, 9)
SPACING = (0.5, 0.4)


def header(position: np.ndarray, orientation: np.ndarray) -> SliceHeader:
    numbers = [float(value) for value in position]
    return SliceHeader(
        Path("x"), "1", "1", "CT", SHAPE, SPACING, (numbers[0], numbers[1], numbers[2]), tuple(orientation.ravel())
    )


def stack(depths: list[float], shear_xy: tuple[float, float] = (0, 0), angle: float = 0.0) -> StackGeometry:
    """Slices at depths along the normal, each moved in its plane by ``shear_xy`` mm for each mm of depth."""
    orientation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)]])
    normal = np.cross(*orientation)
    direction = normal + shear_xy[0] * orientation[0] + shear_xy[1] * orientation[1]
    start = np.array([-3.0, 5.0, 70.0])
    return StackGeometry.of([header(start + depth * direction, orientation) for depth in depths])


def voxels_mm(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Positions of all voxels, (*shape, 3)."""
    z, y, x = np.indices(shape)
    return np.stack((x, y, z), -1) @ affine[:3, :3].T + affine[:3, 3]


def slice_mm(geometry: StackGeometry, index: int) -> np.ndarray:
    """Positions of the pixels of a slice by DICOM PS3.3, equation C.7.6.2.1-1: (rows, columns, 3)."""
    rows, columns = np.indices(SHAPE)
    start = geometry.origin_mm + geometry.axes @ geometry.offsets_mm[index]
    along_row, along_column = geometry.axes[:, 0], geometry.axes[:, 1]
    return start + columns[..., None] * SPACING[1] * along_row + rows[..., None] * SPACING[0] * along_column


def resampled(geometry: StackGeometry, slices: list[np.ndarray], spacing: float | None = None, outside: float = np.nan):
    grid = make_grid(geometry, spacing)
    return grid, np.stack(list(resample(grid, lambda i: slices[i], outside)))


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0.5, 8), min_size=1, max_size=6),
    shear=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
    angle=st.floats(-0.5, 0.5),
    spacing=st.one_of(st.none(), st.floats(0.5, 9)),
)
def test_a_field_linear_in_space_is_kept(
    gaps: list[float], shear: tuple[float, float], angle: float, spacing: float | None
) -> None:
    geometry = stack([0.0, *np.cumsum(gaps)], shear, angle)
    gradient = np.array([3.0, -2.0, 1.5])
    slices = [(slice_mm(geometry, i) @ gradient).astype(np.float32) for i in range(len(gaps) + 1)]
    grid, volume = resampled(geometry, slices, spacing)
    expected = voxels_mm(grid.affine, volume.shape) @ gradient
    inside = np.isfinite(volume)
    # slices within 0.1 mm of their place are not moved, nor are parts of a thousandth of a pixel
    within = geometry.is_upright or geometry.is_even
    tolerance = 0.1 * np.abs(gradient).sum() if within else 0.005
    assert inside.any()
    np.testing.assert_allclose(volume[inside], expected[inside], atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0.5, 8), min_size=1, max_size=6),
    shear=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
    angle=st.floats(-0.5, 0.5),
)
def test_every_pixel_of_every_slice_is_covered(gaps: list[float], shear: tuple[float, float], angle: float) -> None:
    geometry = stack([0.0, *np.cumsum(gaps)], shear, angle)
    grid = make_grid(geometry)
    to_index = np.linalg.inv(grid.affine)
    slack = 0.26 if geometry.is_upright else 2e-3  # 0.1 mm are a quarter of a pixel
    for i in range(len(gaps) + 1):
        index = slice_mm(geometry, i) @ to_index[:3, :3].T + to_index[:3, 3]
        assert index.min() >= -slack
        assert (index.max(axis=(0, 1)) <= np.array(grid.shape[::-1]) - 1 + slack).all()
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)  # right angles


def test_planes_and_spacing_of_an_uneven_stack() -> None:
    geometry = stack([0, 4, 8, 12, 19, 26])  # gaps 4 4 4 7 7: the median is 4, 26 / 4 = 6.5 steps
    grid = make_grid(geometry)
    assert grid.shape == (7, *SHAPE)
    np.testing.assert_allclose(np.diff(voxels_mm(grid.affine, grid.shape)[:, 0, 0, 2]), 26 / 6)
    np.testing.assert_allclose(grid.depths, [0, 13 / 12, 26 / 12, 3 + 1 / 7, 3 + 16 / 21, 4 + 8 / 21, 5], atol=1e-9)
    assert make_grid(geometry, 13).shape[0] == 3


def test_values_between_two_slices_are_weighted_by_distance() -> None:
    geometry = stack([0, 2, 6])
    slices = [np.full(SHAPE, value, np.float32) for value in (0, 10, 50)]
    _, volume = resampled(geometry, slices, spacing=1.5)
    np.testing.assert_allclose(volume[:, 0, 0], [0, 7.5, 20, 35, 50], atol=1e-5)
    assert (volume == volume[:, :1, :1]).all()


def test_a_tilted_even_stack_keeps_its_planes_and_moves_them_by_parts_of_a_pixel() -> None:
    geometry = stack([0, 5, 10], shear_xy=(0, 0.05))  # 0.25 mm each, half a pixel of 0.5 mm
    bright = np.zeros(SHAPE, np.float32)
    bright[3, 4] = 100
    grid, volume = resampled(geometry, [bright] * 3, outside=0)
    assert volume.shape == (3, SHAPE[0] + 2, SHAPE[1])
    assert grid.shifts.tolist() == [[0, 0.5], [0, 1], [0, 1.5]]
    np.testing.assert_array_equal(volume[1, :, 4], [0, 0, 0, 0, 100, 0, 0, 0, 0])  # the one in the middle stays exact
    np.testing.assert_array_equal(volume[0, :, 4], [0, 0, 0, 50, 50, 0, 0, 0, 0])


def test_outside_of_a_slice_is_filled() -> None:
    geometry = stack([0, 5], shear_xy=(0.16, 0))  # 0.8 mm, two columns
    _, volume = resampled(geometry, [np.zeros(SHAPE, np.float32)] * 2, outside=-1000)
    np.testing.assert_array_equal(volume[0, 0], [0] * 9 + [-1000] * 2)
    np.testing.assert_array_equal(volume[1, 0], [-1000] * 2 + [0] * 9)


def test_each_slice_is_read_once_and_in_order() -> None:
    geometry = stack([0, 1, 2.5, 3.5, 9])
    seen: list[int] = []

    def read(index: int) -> np.ndarray:
        seen.append(index)
        return np.zeros(SHAPE, np.float32)

    list(resample(make_grid(geometry), read, 0))
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("depths", "shear", "even", "upright", "tilt"),
    [
        ([0, 5, 10, 15], (0, 0), True, True, 0),
        ([0, 5.05, 10, 15], (0, 0), True, True, 0),
        ([0, 5.2, 10, 15], (0, 0), False, True, 0),
        ([0, 5, 10, 15], (0, np.tan(np.radians(18.5))), True, False, 18.5),
        ([0, 5, 10, 15], (0.003, 0), True, True, 0.1719),
    ],
)
def test_even_and_upright(depths: list, shear: tuple, even: bool, upright: bool, tilt: float) -> None:
    geometry = stack(depths, shear, angle=0.2)
    assert (geometry.is_even, geometry.is_upright) == (even, upright)
    assert geometry.tilt_degrees == pytest.approx(tilt, abs=1e-3)


@pytest.mark.parametrize(
    ("gaps", "found"),
    [
        ([5, 5, 10, 5], [2]),
        ([10, 5, 5], [0]),
        ([5, 5, 7.6], [2]),
        ([4, 4, 4, 7, 7, 7], []),  # two blocks, as scanners do at the base of the skull
        ([4, 4, 1.1, 7, 7], []),
        ([5, 15, 5, 10, 5], [1, 3]),
        ([10], []),
    ],
)
def test_wide_gaps(gaps: list[float], found: list[int]) -> None:
    assert stack([0, *np.cumsum(gaps)]).wide_gaps() == found
