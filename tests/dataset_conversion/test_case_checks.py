"""What is looked at in the files of one case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_datasets import lesion_mask, save, scan

from nnunet_multitask.dataset_conversion.case_checks import CaseFiles, Expectations, MaskContent, check_case

EXPECTED = Expectations(frozenset({0, 1}), None, ("CT",), 1e-3)


def files(tmp_path: Path, *images: np.ndarray, mask: np.ndarray | None = None) -> CaseFiles:
    paths = tuple(save(tmp_path / f"a_{index:04d}.nii.gz", image) for index, image in enumerate(images))
    return CaseFiles("a", "training", paths, None if mask is None else save(tmp_path / "a.nii.gz", mask))


def test_a_sound_case(tmp_path: Path) -> None:
    found = check_case(files(tmp_path, scan(0), mask=lesion_mask()), EXPECTED)
    assert (found.errors, found.warnings) == ((), ())
    assert found.num_slices == 4
    assert found.mask == MaskContent({0: (48, 44, 44, 48), 1: (0, 4, 4, 0)})
    assert len(found.file_digests[0]) == 64


def test_values_far_apart(tmp_path: Path) -> None:
    mask = np.where(lesion_mask() > 0, 100_000, 0).astype(np.int32)
    expected = Expectations(frozenset({0, 100_000}), None, ("CT",), 1e-3)
    found = check_case(files(tmp_path, scan(0), mask=mask), expected)
    assert found.mask == MaskContent({0: (48, 44, 44, 48), 100_000: (0, 4, 4, 0)})


def test_equal_voxels_have_one_digest_however_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first = check_case(files(tmp_path, scan(0)), EXPECTED)
    second = check_case(files(tmp_path / "b", scan(0).astype(np.float32)), EXPECTED)
    assert first.voxel_digest == second.voxel_digest
    assert first.file_digests != second.file_digests
    assert check_case(files(tmp_path, scan(1)), EXPECTED).voxel_digest != first.voxel_digest
    assert check_case(files(tmp_path, scan(0)[:, ::-1]), EXPECTED).voxel_digest != first.voxel_digest
    (tmp_path / "a_0000.nii.gz").unlink()
    missing = check_case(CaseFiles("a", "training", (tmp_path / "a_0000.nii.gz",), None), EXPECTED)
    assert missing.voxel_digest is None
    assert missing.num_slices is None


def test_every_file_is_read_however_many_are_at_fault(tmp_path: Path) -> None:
    case = files(tmp_path, scan(0), scan(1), mask=lesion_mask(5))
    case.images[0].write_bytes(b"\x1f\x8bno")
    save(case.images[1], np.full((4, 6, 8), np.nan, np.float32))
    codes = [error.code for error in check_case(case, EXPECTED).errors]
    assert codes == ["damaged-gzip", "not-finite", "unknown-mask-value"]


def test_warnings_of_intensities_go_by_the_name_of_the_channel(tmp_path: Path) -> None:
    picture = np.abs(scan(0)).astype(np.uint8)
    case = files(tmp_path, picture, mask=lesion_mask())
    assert [w.code for w in check_case(case, EXPECTED).warnings] == ["no-hounsfield"]
    other = Expectations(frozenset({0, 1}), None, ("MR",), 1e-3)
    assert check_case(case, other).warnings == ()


@pytest.mark.parametrize(
    ("mask", "ignore", "kind", "foreground"),
    [
        (MaskContent({0: (4,)}), None, "empty", ()),
        (MaskContent({0: (3,), 2: (1,)}), None, "foreground", (2,)),
        (MaskContent({1: (4,)}), None, "foreground", (1,)),
        (MaskContent({3: (4,)}, 3), 3, "no mask", ()),
        (MaskContent({0: (1,), 3: (3,)}, 3), 3, "unknown", ()),
        (MaskContent({1: (1,), 2: (1,), 3: (2,)}, 3), 3, "foreground", (1, 2)),
        (MaskContent({}), None, "empty", ()),
    ],
)
def test_kinds_of_masks(mask: MaskContent, ignore: int | None, kind: str, foreground: tuple[int, ...]) -> None:
    assert mask.ignore == ignore
    assert mask.kind == kind
    assert mask.foreground == foreground
