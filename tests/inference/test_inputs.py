"""Images are looked at before a prediction."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from nifti_files import BAD_FILES, LPS, cut, oblique, save_nifti

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.inference.inputs import check_array, check_images

CT = np.full((4, 5, 3), -1000, np.int16)


def test_sound_images_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channels = [save_nifti(tmp_path / f"a_{number:04d}.nii.gz", CT) for number in range(2)]
    (tmp_path / "c.png").touch()
    check_images({"a": channels, "c": [tmp_path / "c.png"] * 2}, ["CT", "T1"])
    check_images({"b": [str(channels[0])]}, ["CT"])
    check_images({}, ["CT"])
    assert caplog.text == ""


def test_every_fault_of_every_case_is_named(tmp_path: Path) -> None:
    cases = {}
    for number, bad in enumerate(BAD_FILES):
        path = tmp_path / f"case_{number:02d}_0000{bad.ending}"
        bad.write(path)
        cases[str(number)] = [path]
    with pytest.raises(InputErrors) as caught:
        check_images(cases, ["CT"])
    assert [error.code for error in caught.value.errors] == [bad.code for bad in BAD_FILES]
    assert [Path(error.where) for error in caught.value.errors] == [paths[0] for paths in cases.values()]


def test_channels_lie_on_the_same_voxels(tmp_path: Path) -> None:
    first = save_nifti(tmp_path / "a_0000.nii.gz", CT)
    turned = save_nifti(tmp_path / "a_0001.nii.gz", CT, oblique())
    truncated = save_nifti(tmp_path / "a_0002.nii.gz", CT)
    cut(truncated, 0.9)
    with pytest.raises(InputErrors) as caught:
        check_images({"a": [first, turned, truncated]}, ["CT", "x", "y"])
    assert [error.code for error in caught.value.errors] == ["geometry-differs", "damaged-gzip"]


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    channels = [save_nifti(tmp_path / f"a_{number:04d}.nii.gz", CT) for number in range(2)]
    with pytest.raises(InputErrors) as caught:
        check_images({"a": channels, "b": [], "c": [tmp_path / "none.png"]}, ["CT"])
    assert [f"{error.where}: {error.fault}" for error in caught.value.errors] == [
        "case a: expected 1 channels (CT), got 2",
        "case b: expected 1 channels (CT), got 0",
        f"{tmp_path / 'none.png'}: expected a file, found none",
    ]


def test_what_is_doubtful_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = save_nifti(tmp_path / "a_0000.nii.gz", np.full((4, 5, 3), 200, np.uint8))
    moved = LPS.copy()
    moved[0, 3] = 7
    doubtful = save_nifti(tmp_path / "b_0000.nii.gz", CT, LPS, moved)
    with caplog.at_level(logging.WARNING):
        check_images({"a": [picture], "b": [doubtful]}, ["CT"])
    assert [record.getMessage().split("]")[0] for record in caplog.records] == [
        "WARN [no-hounsfield",
        "WARN [qform-sform",
    ]


@pytest.mark.parametrize(
    ("array", "spacing", "words"),
    [
        (
            CT,
            (5, 1, 1),
            "case a: expected an array (1, Z, Y, X) of the channels CT, got the shape (4, 5, 3)",
        ),
        (np.stack([CT, CT]), (5, 1, 1), "got the shape (2, 4, 5, 3)"),
        (CT[None, :0], (5, 1, 1), "got the shape (1, 0, 5, 3)"),
        (np.full((1, 2, 2, 2), np.nan), (5, 1, 1), "[not-finite] case a"),
        (CT[None], (1,), "[bad-spacing] case a: expected three lengths in mm along (z, y, x), got (1,)"),
        (CT[None], (0, 1, 1), "got (0, 1, 1)"),
        (CT[None], (float("nan"), 1, 1), "[bad-spacing]"),
    ],
)
def test_arrays_that_are_no_images_of_the_model_are_refused(array, spacing, words):
    check_array("a", CT[None], (5, 1, 1), ["CT"])
    with pytest.raises(InputError) as caught:
        check_array("a", array, spacing, ["CT"])
    assert words in str(caught.value)
