"""The writer: faults, repairs and warnings."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from raw_source import AFFINE, QUIET, SHAPE, blood, ct, make_case, make_source, save

from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_mask


def test_every_fault_of_every_case_at_once(root: Path, folder: Path) -> None:
    cases = [make_case(root, number) for number in range(4)]
    assert cases[0].mask is not None
    cases[0].images[0].write_bytes(b"")
    save(cases[0].mask, blood() * 3)
    save(cases[2].images[0], ct(2)[:, :, :3])
    cases.append(replace(cases[3], case_id="../escape"))
    with pytest.raises(InputErrors) as caught:
        write_dataset(make_source(root, *cases), folder, QUIET)
    assert [error.code for error in caught.value.errors] == [
        "unsafe-case-id",
        "empty-file",
        "unknown-mask-value",
        "shape-differs",
    ]
    assert list(folder.parent.iterdir()) == []


def test_excluded_cases_come_with_checksums(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    save(cases[1].images[0], ct(1)[:, :, :3])
    report = write_dataset(make_source(root, *cases, exclude_faults=("shape-differs",)), folder, QUIET).report
    (excluded,) = report["excluded"]
    assert (excluded["case"], excluded["code"]) == ("case_1", "shape-differs")
    assert set(excluded["inputs"]) == {"images/case_1.nii.gz", "labels/case_1.nii.gz"}
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == ["case_0_0000.nii.gz"]
    check_schema(report, "conversion_report.json", "report")


def shifted(distance_mm: float) -> npt.NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] += distance_mm
    return affine


def test_geometry_is_exact_unless_the_user_allows_more(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    assert case.mask is not None
    save(case.mask, blood(), shifted(0.1))
    source = make_source(root, case)
    with pytest.raises(InputErrors, match=r"\[geometry-differs\] .*within 0.001 mm, got corners 0.1 mm apart"):
        write_dataset(source, folder, QUIET)
    report = write_dataset(source, folder, replace(QUIET, tolerance_mm=0.2)).report
    assert report["counts"]["repaired"] == 0
    report = write_dataset(source, folder, replace(QUIET, repair_geometry=True, overwrite=True)).report
    assert report["cases"]["case_0"]["repairs"] == [
        "labels/case_0.nii.gz: took the geometry of the image; corners were 0.1 mm apart"
    ]
    np.testing.assert_allclose(read_mask(folder / "labelsTr" / "case_0.nii.gz").affine, AFFINE, atol=1e-6)


def test_half_a_voxel_is_no_slip(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    assert case.mask is not None
    save(case.mask, blood(), shifted(0.26))
    with pytest.raises(InputErrors, match=r"\[geometry-differs\] .*got corners 0.26 mm apart"):
        write_dataset(make_source(root, case), folder, replace(QUIET, repair_geometry=True))


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({"a": 1, "b": 3}, r"expected the values 1, 2, ... without a gap"),
        ({"ignore": 1, "b": 2}, r"ignore being the highest"),
        ({}, r"expected the values 1, 2, ..."),
        ({"ignore": 1}, r"expected the values 1, 2, ..."),
    ],
)
def test_labels_that_nnunet_would_refuse(root: Path, folder: Path, labels: dict[str, int], fault: str) -> None:
    with pytest.raises(InputErrors, match=rf"\[bad-labels\] .*{fault}"):
        write_dataset(make_source(root, make_case(root, 0), labels=labels), folder, QUIET)


def test_without_any_mask_there_is_nothing_to_train_on(root: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"\[no-mask\] .*some of the 1 training cases, found none"):
        write_dataset(make_source(root, make_case(root, 0, mask=None)), folder, QUIET)
    with pytest.raises(InputError, match=r"\[no-training-case\]"):
        write_dataset(make_source(root, make_case(root, 0, is_test=True)), folder, QUIET)
    assert list(folder.parent.iterdir()) == []


def test_mask_and_class_that_contradict_each_other(root: Path, folder: Path) -> None:
    cases = [
        make_case(root, 0, expects_foreground=False),
        make_case(root, 1),
        make_case(root, 2, expects_foreground=True),
    ]
    assert cases[2].mask is not None
    save(cases[2].mask, blood() * 0)
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["warnings"] == [
        "[mask-against-class] labels/case_0.nii.gz: expected an empty mask, since its class says so, got foreground -> "
        "look at the case; correct mask or class",
        "[mask-against-class] labels/case_2.nii.gz: expected foreground, since its class says so, got an empty mask -> "
        "look at the case; correct mask or class",
    ]


def test_ignored_voxels_contradict_no_class(root: Path, folder: Path) -> None:
    cases = [make_case(root, number, expects_foreground=number == 1) for number in range(2)]
    for case in cases:
        assert case.mask is not None
        save(case.mask, blood() * 2)
    report = write_dataset(make_source(root, *cases, labels={"hemorrhage": 1, "ignore": 2}), folder, QUIET).report
    assert report["warnings"] == []
    assert report["cases"]["case_0"]["foreground_voxels"] == 0


def test_same_image_twice_is_named(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, is_test=True), make_case(root, 2)]
    packed = gzip.decompress(cases[0].images[0].read_bytes())
    cases[1].images[0].write_bytes(gzip.compress(packed, compresslevel=1))  # other bytes, the same voxels
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["warnings"] == [
        "[duplicate-image] case_0 (training), case_1 (test): expected every image once, got the same voxels for all of "
        "them -> keep one"
    ]


def test_mirrored_mask_is_named_where_blood_is_bright(root: Path, folder: Path) -> None:
    case = make_case(root, 0)
    image, mask = ct(0), np.zeros(SHAPE, np.uint8)
    image[...] = 30
    image[0, 0, 0] = -1000
    image[:2, 1:4, 1:3] = 75
    mask[4:, 1:4, 1:3] = 1
    assert case.mask is not None
    save(case.images[0], image)
    save(case.mask, mask)
    source = make_source(root, case)
    assert write_dataset(source, folder, QUIET).report["warnings"] == []
    bright = replace(source, hyperdense_foreground=True)
    (warning,) = write_dataset(bright, folder, replace(QUIET, overwrite=True)).report["warnings"]
    assert warning.startswith("[mirrored-mask] labels/case_0.nii.gz: ")


def test_errors_of_the_source_come_with_those_of_the_files(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    cases[1].images[0].write_bytes(b"no image")
    known = InputError("missing-image", root / "images" / "case_2.nii.gz", "expected an image, found none", "add it")
    for options in (QUIET, replace(QUIET, dry_run=True)):
        with pytest.raises(InputErrors) as caught:
            write_dataset(make_source(root, *cases, errors=[known]), folder, options)
        first, second = caught.value.errors
        assert first == known
        assert second.where == str(cases[1].images[0])
        assert not folder.exists()
