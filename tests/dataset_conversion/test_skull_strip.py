"""The inside of the skull: heads drawn by hand, the phantom's known brain, a real series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from nnunet_multitask.dataset_conversion.channels import (
    ChannelOptions,
    make_channels,
    strip_skull,
    stripping_warning,
)
from nnunet_multitask.dataset_conversion.phantom_anatomy import SULCAL_CSF
from nnunet_multitask.dataset_conversion.phantom_hemseg200 import plan_split
from nnunet_multitask.dataset_conversion.phantom_physionet import plan_cohort
from nnunet_multitask.dataset_conversion.skull_strip import find_intracranial
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING = (5.0, 2.0, 2.0)


def ball(radius_mm: float, shape: tuple[int, int, int] = (40, 100, 100)) -> npt.NDArray[np.bool_]:
    z, y, x = ((np.arange(size) - (size - 1) / 2) * mm for size, mm in zip(shape, SPACING, strict=True))
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius_mm**2


def head() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Return a head of spheres (air, skin to 85 mm, skull to 80 mm, brain to 72 mm) and the inside of its skull."""
    array = np.full((40, 100, 100), -1000, np.int16)
    for radius, hu in ((85, 30), (80, 1000), (72, 35)):
        array[ball(radius)] = hu
    return array, ball(72)


def image(array: npt.NDArray[np.int16], affine: npt.NDArray[np.float64] | None = None) -> Volume:
    return Volume(array, SPACING, LPS * [2, 2, 5, 1] if affine is None else affine, Path("head.nii.gz"))


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def test_closed_skull_is_found_exactly() -> None:
    array, inside = head()
    np.testing.assert_array_equal(find_intracranial(image(array)), inside)


def test_air_fat_calcification_and_metal_inside_belong_to_it() -> None:
    array, inside = head()
    for place, hu in (((20, 50, 50), -1000), ((18, 40, 60), -90), ((20, 60, 40), 300), ((22, 50, 60), 3000)):
        array[place[0] - 1 : place[0] + 1, place[1] - 2 : place[1] + 3, place[2] - 2 : place[2] + 3] = hu
    np.testing.assert_array_equal(find_intracranial(image(array)), inside)


def test_foramina_do_not_leak_and_a_couch_changes_nothing() -> None:
    array, inside = head()
    wall = ball(80) & ~inside
    array[19:21, 48:52, :][wall[19:21, 48:52, :]] = 40  # an 8 mm wide hole to either side
    array[:, 95:98, :] = 500  # a couch
    found = find_intracranial(image(array))
    assert (found & ~ball(80)).sum() == 0
    assert dice(found, inside) > 0.999


def test_scan_that_is_cut_above_and_below() -> None:
    array, inside = head()
    found = find_intracranial(image(array[12:28]))
    assert dice(found, inside[12:28]) > 0.999


def test_missing_piece_of_skull_leaves_brain_and_some_skin() -> None:
    array, inside = head()
    hole = (ball(80) & ~inside).copy()
    hole[:, :, :80] = False  # 42 mm deep cap at the right end of x
    array[hole] = 30
    found = find_intracranial(image(array))
    assert (inside & ~found).sum() == 0
    assert dice(found, inside) > 0.965


def test_skull_in_pieces() -> None:
    array, inside = head()
    wall = ball(80) & ~inside
    array[:, 48:52][wall[:, 48:52]] = 40  # open sutures of 8 mm part the skull in four
    array[:, :, 48:52][wall[:, :, 48:52]] = 40
    assert dice(find_intracranial(image(array)), inside) > 0.98


def test_thin_slices_and_other_axes_give_the_same_inside() -> None:
    array, inside = head()
    # sagittal storage: array (X, Z, Y) with its affine
    affine = np.array([[0, 0, -2.0, 0], [-2.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 0, 1]])
    turned = Volume(np.moveaxis(array, 2, 0), (2.0, 5.0, 2.0), affine, Path("sagittal.nii.gz"))
    np.testing.assert_array_equal(find_intracranial(turned), np.moveaxis(inside, 2, 0))
    # finer in plane than the method works
    some = slice(14, 24)
    fine = Volume(array[some].repeat(4, 1).repeat(4, 2), (5.0, 0.5, 0.5), LPS * [0.5, 0.5, 5, 1], Path("fine.nii.gz"))
    np.testing.assert_array_equal(find_intracranial(fine), inside[some].repeat(4, 1).repeat(4, 2))


def test_nothing_enclosed_is_refused() -> None:
    array = np.full((10, 40, 40), -1000, np.int16)
    array[ball(30, (10, 40, 40))] = 40
    with pytest.raises(InputError, match=r"\[no-skull\] head.nii.gz: expected a skull that encloses soft tissue"):
        make_channels(image(array), ChannelOptions(skull_strip=True))


def test_outside_becomes_air_and_windows_come_after() -> None:
    array, inside = head()
    (stripped,) = make_channels(image(array), ChannelOptions(skull_strip=True))
    np.testing.assert_array_equal(stripped.array, np.where(inside, array, -1000))
    assert stripped.array.dtype == np.int16
    (bone,) = make_channels(image(array), ChannelOptions(windows=("bone",), skull_strip=True))
    np.testing.assert_array_equal(bone.array, np.where(inside, 76, 0))  # (35 + 800) / 2800 * 255


def test_labels_that_are_cut_away_are_named() -> None:
    array, inside = head()
    before = image(array)
    after = strip_skull(before)
    mask = replace(before, array=inside.astype(np.uint8), path=Path("mask.nii.gz"))
    assert stripping_warning(before, after, mask) is None
    mask.array[20, 50, :10] = 2  # beside the head, where all is air already, and in its skin
    warning = stripping_warning(before, after, mask)
    assert warning is not None
    outside = int((array[20, 50, :10] != -1000).sum())
    assert str(warning).startswith(
        "[label-outside-skull] mask.nii.gz: expected all labelled voxels inside of the skull, "
        f"got {outside} of {np.count_nonzero(mask.array)} outside -> look at the case"
    )
    assert stripping_warning(before, after, replace(mask, array=np.zeros_like(mask.array))) is None


def test_phantom_brain() -> None:
    """The phantom is synthetic: this shows that the method is right on its own assumptions."""
    extra_axial = next(case for case in plan_cohort(10) if "SDH" in case.kinds)  # blood that touches bone
    for case in (next(plan_split("test", 1, seed=3)), extra_axial):
        scan = case.draw()
        mm = float(np.linalg.norm(scan.affine[:3, 0]))
        found = find_intracranial(Volume(scan.image, (5.0, mm, mm), scan.affine, Path("phantom")))
        assert dice(found, scan.tissue >= SULCAL_CSF) > 0.998
        assert found[scan.mask > 0].all()
