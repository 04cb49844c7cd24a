"""Affines of orthogonal grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nifti_files import LPS, oblique, sheared

from nnunet_multitask.errors import InputError
from nnunet_multitask.geometry import (
    axial_axis,
    check_affine,
    check_right_angles,
    check_spacing,
    corners_mm,
    spacing_of,
)

PATH = Path("a.nii.gz")


def test_corners_of_a_small_array() -> None:
    corners = corners_mm((3, 5, 4), LPS)
    assert corners.shape == (8, 3)
    np.testing.assert_allclose(corners.min(axis=0), (-1.5, -2.4, 0))
    np.testing.assert_allclose(corners.max(axis=0), (0, 0, 10))


def test_spacing_of_turned_axes() -> None:
    np.testing.assert_allclose(spacing_of(oblique()), (0.5, 0.6, 5.0))


@pytest.mark.parametrize("affine", [LPS, oblique(), np.diag([0.5, -0.6, 5.0, 1.0])], ids=["LPS", "oblique", "LAS"])
def test_orthogonal_affines(affine: np.ndarray) -> None:
    check_affine(affine, PATH)


@pytest.mark.parametrize(("tilt", "refused"), [(0.00005, False), (0.0002, True), (0.2, True)])
def test_shear_beyond_rounding(tilt: float, refused: bool) -> None:
    affine = LPS.copy()
    affine[1, 2] = 5.0 * tilt
    if refused:
        with pytest.raises(InputError, match=r"\[sheared-affine\] a\.nii\.gz: expected axes at right angles"):
            check_right_angles(affine, PATH)
    else:
        check_right_angles(affine, PATH)


@pytest.mark.parametrize("value", [0.0, -1.0, 50.1, np.nan, np.inf])
def test_impossible_spacing(value: float) -> None:
    with pytest.raises(InputError, match=r"\[bad-spacing\] .*spacing in 0 to 50 mm, got \[0.5, 0.6, "):
        check_spacing(np.array([0.5, 0.6, value]), PATH)
    check_spacing(np.array([0.5, 0.6, 50.0]), PATH)


def test_affines_that_are_refused() -> None:
    for affine, code in ((sheared(), "sheared-affine"), (np.diag([1.0, 0, 1, 1]), "bad-spacing")):
        with pytest.raises(InputError, match=rf"\[{code}\]"):
            check_affine(affine, PATH)
    infinite = LPS.copy()
    infinite[0, 3] = np.inf
    with pytest.raises(InputError, match=r"\[bad-affine\] .*expected finite directions and origin"):
        check_affine(infinite, PATH)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[-1, 0, 0], [0, -1, 0], [0, 0, 5]], 0),
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], 1),  # index y runs upwards
        ([[0, 1, 0], [0, 0, 1], [-3, 0, 0]], 2),  # index x runs downwards
        ([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], 0),  # tilted by 37 degrees: the nearest one
    ],
)
def test_axial_axis(columns: list[list[float]], expected: int) -> None:
    affine = np.eye(4)
    affine[:3, :3] = columns
    assert axial_axis(affine) == expected
