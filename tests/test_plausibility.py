"""Warnings about intensities that are no Hounsfield units, and about mirrored masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nifti_files import LPS, oblique

from nnunet_multitask.dataset_conversion.phantom_hemseg200 import plan_split
from nnunet_multitask.files import Volume, read_image, read_mask
from nnunet_multitask.plausibility import flip_warning, intensity_warning

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "hippocampus"


def volume(array: np.ndarray, affine: np.ndarray = LPS) -> Volume:
    return Volume(array, (5.0, 0.6, 0.5), affine, Path("a.nii.gz"))


def head() -> np.ndarray:
    """Return air around a skull around brain of 35 HU, (8, 32, 32)."""
    array = np.full((8, 32, 32), -1000, np.int16)
    array[:, 4:28, 4:28] = 1000
    array[:, 6:26, 6:26] = 35
    return array


def bleeding(x: slice = slice(8, 13)) -> tuple[np.ndarray, np.ndarray]:
    """Return a head with a bleeding of 65 HU on one side, and its mask."""
    array, mask = head(), np.zeros((8, 32, 32), np.uint8)
    mask[2:5, 10:16, x] = 1
    array[mask > 0] = 65
    return array, mask


def mirrored(mask: np.ndarray) -> np.ndarray:
    return np.flip(mask, 2)


@pytest.fixture(scope="module")
def scans() -> list[tuple[Volume, Volume]]:
    """Image and mask of two scans of the phantom, one of each kind."""
    drawn = [case.draw() for case in plan_split("train", 2)]
    return [(volume(scan.image, scan.affine), volume(scan.mask, scan.affine)) for scan in drawn]


# --- intensities


def test_hounsfield_units_are_not_warned_of(scans: list[tuple[Volume, Volume]]) -> None:
    for image in (volume(head()), volume(head().astype(np.float32)), *(image for image, _ in scans)):
        assert intensity_warning(image, "CT") is None


def window(array: np.ndarray) -> np.ndarray:
    return np.clip(array * 2.0, 0, 255)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda array: window(array).astype(np.uint8), "uint8 voxels of 0 to 255, an 8-bit picture"),
        (lambda array: window(array).astype(np.float32), "float32 voxels of 0 to 255, an 8-bit picture"),
        (lambda array: (window(array) - 128).astype(np.int8), "int8 voxels of -128 to 127"),
        (lambda array: array + 1024, "24 to 2024, without a value below 0 -> .*subtracting 1024"),
        (lambda array: np.where(array < -900, -2000, array + 1024), "no air near -1000 and 39% of the voxels"),
    ],
    ids=["bytes", "floats of bytes", "signed bytes", "offset", "offset and filling value"],
)
def test_what_is_no_hounsfield_unit(change: Callable[[np.ndarray], np.ndarray], text: str) -> None:
    warning = intensity_warning(volume(change(head())), "CT")
    with pytest.raises(Exception, match=rf"\[no-hounsfield\] a.nii.gz: expected Hounsfield units, got .*{text}"):
        raise warning or AssertionError("no warning")


def test_an_offset_of_1024_is_seen_in_phantom_scans(scans: list[tuple[Volume, Volume]]) -> None:
    for image, _ in scans:
        array = image.array + np.int16(1024)
        array[:, :9, :9] = -2000  # what scanners fill the corners with
        assert intensity_warning(replace(image, array=array), "CT") is not None


def test_only_channels_named_ct_are_looked_at() -> None:
    image = volume(np.zeros((2, 3, 4), np.uint8))
    assert intensity_warning(image, "ct") is not None
    assert intensity_warning(image, "T1") is None
    assert intensity_warning(volume(np.zeros((0, 3, 4), np.uint8)), "CT") is None


# --- mirrored masks


def test_mirrored_masks_of_phantom_scans_are_told_from_right_ones(scans: list[tuple[Volume, Volume]]) -> None:
    for image, mask in scans:
        assert flip_warning(image, mask) is None
        warning = flip_warning(image, replace(mask, array=mirrored(mask.array)))
        assert warning is not None
        assert warning.code == "mirrored-mask"


def test_text_of_the_warning() -> None:
    array, mask = bleeding()
    assert flip_warning(volume(array), volume(mask)) is None
    assert str(flip_warning(volume(array), volume(mirrored(mask)))) == (
        "[mirrored-mask] a.nii.gz: expected fresh blood under the mask, got 0% of 90 voxels, and 100% under the "
        "mirrored mask -> look at the case, and flip the mask if it is mirrored"
    )


def test_left_and_right_are_found_by_the_affine() -> None:
    array, mask = bleeding()
    turned = LPS[:, [1, 0, 2, 3]]  # the array's y axis runs from left to right
    image, mask = np.swapaxes(array, 1, 2), np.swapaxes(mask, 1, 2)
    assert flip_warning(volume(image, turned), volume(np.flip(mask, 1))) is not None
    assert flip_warning(volume(array, oblique()), volume(mirrored(bleeding()[1]))) is not None
    top_down = bleeding()[1][:, ::-1]
    assert flip_warning(volume(array), volume(top_down)) is None  # another fault than this one


def test_masks_that_cannot_be_judged() -> None:
    array, mask = bleeding()
    assert flip_warning(volume(array), volume(np.zeros_like(mask))) is None
    assert flip_warning(volume(array), volume(mask[:4])) is None
    symmetric = mask | mirrored(mask)
    assert flip_warning(volume(array), volume(symmetric)) is None
    few = np.zeros_like(mask)
    few[2, 10, 20:29] = 1
    assert flip_warning(volume(mirrored(array)), volume(mirrored(few))) is None  # nine voxels


@pytest.mark.parametrize(("blood", "other_side"), [(30, 35), (35, 1000), (65, 70), (20, 220)])
def test_no_warning_without_fresh_blood_on_the_other_side_only(blood: int, other_side: int) -> None:
    array, mask = bleeding()
    array[mask > 0] = blood  # old, say, against brain, bone, more blood or chalk
    array[mirrored(mask) > 0] = other_side
    assert flip_warning(volume(array), volume(mask)) is None


def test_images_without_air_are_not_judged() -> None:
    array, mask = bleeding()
    assert flip_warning(volume(np.maximum(array, 0)), volume(mirrored(mask))) is None


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason=f"needs {HIPPOCAMPUS}")
def test_mr_of_the_hippocampus_gives_no_warning() -> None:
    for path in sorted((HIPPOCAMPUS / "images").glob("*.nii.gz"))[::8]:
        image, mask = read_image(path), read_mask(HIPPOCAMPUS / "labels" / path.name)
        assert flip_warning(image, mask) is None
        assert intensity_warning(image, "MRI") is None
