"""The writer: cases with a reader of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_source import AFFINE, QUIET, Reader, blood, ct, make_case, make_source

from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.dataset_conversion.sources import LoadedCase, SourceCase
from nnunet_multitask.errors import InputErrors
from nnunet_multitask.files import Volume, read_image, read_mask
from nnunet_multitask.labels import read_sidecar


def test_own_reader(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, reader=Reader(offset=7)) for number in range(3)]
    report = write_dataset(make_source(root, *cases), folder, replace(QUIET, num_workers=2)).report
    image = read_image(folder / "imagesTr" / "case_1_0000.nii.gz")
    np.testing.assert_array_equal(image.array, ct(1).T + 7)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert image.array.dtype == np.int16
    assert read_mask(folder / "labelsTr" / "case_1.nii.gz").array.dtype == np.uint8
    entry = report["cases"]["case_1"]
    assert entry["status"] == "repaired"
    assert entry["repairs"] == ["a slice was rebuilt"]
    assert report["warnings"] == ["it was odd"] * 3
    assert read_sidecar(folder / "class_labels.json").cases["case_1"].attributes == {"age_years": 33}


def test_values_of_an_own_reader_are_checked(root: Path, folder: Path) -> None:
    with pytest.raises(InputErrors, match=r"\[unknown-mask-value\] .*expected the values \[0, 1\], got 9"):
        write_dataset(make_source(root, make_case(root, 0, reader=Reader(mask_value=9))), folder, QUIET)


def refuse_to_read(case: SourceCase) -> LoadedCase:
    raise PermissionError(13, "Permission denied", f"{case.case_id}.dcm")


def test_what_the_system_says_to_an_own_reader_is_a_fault_of_the_case(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, reader=refuse_to_read) for number in (1, 2)]
    with pytest.raises(InputErrors) as caught:
        write_dataset(make_source(root, *cases), folder, QUIET)
    assert [str(error) for error in caught.value.errors] == [
        f"[unreadable-file] case_{number}.dcm: expected a readable file, got: Permission denied -> check the file"
        for number in (1, 2)
    ]


def test_volume_that_is_no_file_of_the_source(root: Path, folder: Path) -> None:
    """A reader may give volumes that were never a file: the report names what was read, not them."""
    case = make_case(root, 0, reader=make_up)
    report = write_dataset(make_source(root, case, make_case(root, 1)), folder, QUIET).report
    assert report["cases"]["case_0"]["inputs"] == {}
    np.testing.assert_array_equal(read_image(folder / "imagesTr" / "case_0_0000.nii.gz").array, ct(5).T)


def make_up(case: SourceCase) -> LoadedCase:
    image = Volume(ct(5).T, (5.0, 0.5, 0.5), AFFINE, Path("nowhere"), changed=True)
    return LoadedCase((image,), replace(image, array=blood().T), {})
