"""Opening images and masks, writing all or nothing, finding datasets."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume, check_same_geometry, count_values, read_image, read_mask

LPS = np.diag([-0.5, -0.6, 5.0, 1.0])
SHAPE_XYZ = (4, 5, 3)


def save(path: Path, array: Any = None, affine: Any = None, **header: Any) -> Path:
    array = np.arange(60, dtype=np.int16).reshape(SHAPE_XYZ) if array is None else array
    image = nibabel.Nifti1Image(array, LPS if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def patch_header(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of the header inside a ``.nii.gz``."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)))


def oblique() -> np.ndarray:
    angle = np.deg2rad(15)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.5, -0.6, 5.0])
    affine[:3, 3] = (10, -20, 30)
    return affine


# --- images


def test_array_order_and_geometry(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    volume = read_image(path)
    assert volume.array.shape == (3, 5, 4)
    assert volume.array.dtype == np.int16
    assert volume.array[2, 1, 3] == nibabel.load(path).get_fdata()[3, 1, 2]
    assert volume.spacing_mm == pytest.approx((5.0, 0.6, 0.5))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("affine", [LPS, oblique()], ids=["straight", "oblique"])
def test_world_coordinates_agree_with_simpleitk(tmp_path: Path, ending: str, affine: np.ndarray) -> None:
    image = sitk.ReadImage(str(save(tmp_path / "a.nii.gz", affine=affine)))
    sitk.WriteImage(image, str(tmp_path / f"b{ending}"))
    volume = read_image(tmp_path / f"b{ending}")
    lps = np.array(image.TransformIndexToPhysicalPoint((3, 1, 2)))
    np.testing.assert_allclose((volume.affine @ [3, 1, 2, 1])[:3], lps * [-1, -1, 1], atol=1e-4)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))


def test_corners(tmp_path: Path) -> None:
    corners = read_image(save(tmp_path / "a.nii.gz")).corners_mm()
    assert corners.shape == (8, 3)
    np.testing.assert_allclose(corners.min(axis=0), (-1.5, -2.4, 0), atol=1e-6)
    np.testing.assert_allclose(corners.max(axis=0), (0, 0, 10), atol=1e-6)


def test_qform_only(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE_XYZ, np.int16), None)
    image.set_qform(oblique(), code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_image(tmp_path / "a.nii.gz").affine, oblique(), atol=1e-4)


def test_qform_and_sform_that_disagree_give_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", qform_code=1, qoffset_x=7.0)
    volume = read_image(path)
    assert "they differ by 7; the sform was used" in str(volume.warnings[0])
    assert volume.affine[0, 3] == 0


def test_scaled_and_big_endian_images(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(np.full(SHAPE_XYZ, 3, np.int16), LPS, header), tmp_path / "big.nii")
    assert read_image(tmp_path / "big.nii").array.dtype == np.dtype("int16")
    path = save(tmp_path / "a.nii.gz")
    patch_header(path, 112, struct.pack("<ff", 2.0, -1024.0))  # scl_slope, scl_inter
    assert read_image(path).array[0, 0, 1] == 2 * 15 - 1024


def test_trailing_dimension_of_one_is_3d(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.nii", np.zeros((*SHAPE_XYZ, 1), np.int16))).array.shape == (3, 5, 4)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_gzip(tmp_path: Path, keep: float) -> None:
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (20, 20, 9)).astype(np.int16))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(InputError, match=r"\[damaged-gzip\] .*a.nii.gz"):
        read_image(path)


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bit_is_never_read(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = save(tmp_path / "a.nii.gz", rng.integers(0, 99, (20, 20, 9)).astype(np.int16))
    raw = bytearray(path.read_bytes())
    raw[int(rng.integers(30, len(raw) - 4))] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_image(path)


def test_short_nifti(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"\[truncated-nifti\] .*expected 472 bytes by its header, got 471"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha"])
def test_no_such_file_empty_file_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match=r"\[missing-file\]"):
        read_image(path)
    path.touch()
    with pytest.raises(InputError, match=r"\[empty-file\]"):
        read_image(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"\[unreadable-file\]"):
        read_image(path)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(InputError, match=r"\[unreadable-file\]"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "code"), [("a.nii", "bad-nifti"), ("a.nii.gz", "wrong-ending"), ("a.mha", "unreadable-image")]
)
def test_text_file(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_text("no image at all " * 40)
    with pytest.raises(InputError, match=rf"\[{code}\]"):
        read_image(tmp_path / name)


def test_ending_must_tell_the_truth(tmp_path: Path) -> None:
    save(tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    save(tmp_path / "a.nii.gz").rename(tmp_path / "c.nii")
    with pytest.raises(InputError, match="expected the content that the ending tells, got no gzip"):
        read_image(tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="expected the content that the ending tells, got gzip"):
        read_image(tmp_path / "c.nii")


@pytest.mark.parametrize(
    ("offset", "content", "text"),
    [
        (40, struct.pack("<4h", 3, 32767, 32767, 32767), r"\[truncated-nifti\]"),
        (40, struct.pack("<4h", 3, -4, 5, 3), "expected positive dimensions"),
        (40, struct.pack("<4h", 3, 4, 0, 3), "expected positive dimensions"),
        (40, struct.pack("<4h", 2, 12, 5, 1), r"\[not-3d\]"),
        (40, struct.pack("<5h", 4, 4, 5, 1, 3), r"\[not-3d\]"),
        (70, struct.pack("<h", 999), "expected a known datatype, got the code 999"),
        (70, struct.pack("<h", 32), r"expected real numbers, got complex64"),
        (70, struct.pack("<h", 128), r"\[bad-datatype\]"),
        (344, b"xyz\0", "got another magic number"),
        (80, struct.pack("<f", 0.0), r"\[bad-spacing\]"),
        (80, struct.pack("<f", float("nan")), r"\[bad-spacing\]"),
        (80, struct.pack("<f", -1.0), r"\[bad-spacing\]"),
        (80, struct.pack("<f", 51.0), r"\[bad-spacing\]"),
        (108, struct.pack("<f", float("nan")), "expected voxels after the header"),
    ],
)
def test_bad_headers(tmp_path: Path, offset: int, content: bytes, text: str) -> None:
    path = save(tmp_path / "a.nii.gz")
    patch_header(path, offset, content)
    with pytest.raises(InputError, match=text):
        read_image(path)


def test_sheared_affine_is_named(tmp_path: Path) -> None:
    affine = LPS.copy()
    affine[1, 2] = 1.0
    with pytest.raises(InputError, match=r"\[sheared-affine\]"):
        read_image(save(tmp_path / "a.nii.gz", affine=affine))


def test_voxels_that_are_not_finite(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[3, 1, 2] = np.nan
    array[0, 4, 2] = np.inf
    path = save(tmp_path / "a.nii.gz", array)
    with pytest.raises(InputError, match=r"got 2 NaN or infinite, the first at \(z, y, x\) = \(2, 1, 3\)"):
        read_image(path)
    with pytest.raises(InputError, match=r"\[not-finite\]"):
        read_mask(path)


# --- masks


def test_mask_of_floats_is_repaired_and_counted(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[0, 0, :2] = 1.0000153
    array[1, 1, 1] = 1.0
    mask = read_mask(save(tmp_path / "a.nii.gz", array), allowed_labels=[0, 1])
    assert np.issubdtype(mask.array.dtype, np.integer)
    assert count_values(mask.array) == {0: 57, 1: 3}
    assert mask.repaired_voxels == 2


def test_mask_of_other_floats_is_refused(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[0, 0, 1] = 0.99
    with pytest.raises(InputError, match=r"\[non-integer-mask\] .*got 0.99 at \(z, y, x\) = \(1, 0, 0\)"):
        read_mask(save(tmp_path / "a.nii.gz", array))


def test_unknown_mask_values_are_counted(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.int16)
    array[0, 0, :2] = 255
    path = save(tmp_path / "a.nii.gz", array)
    assert read_mask(path).array.max() == 255
    with pytest.raises(InputError, match=r"expected the values \[0, 1\], got 255 \(2 voxels\)"):
        read_mask(path, allowed_labels=(0, 1))
    array[1] = -1
    with pytest.raises(InputError, match=r"expected values from 0 on, got -1 \(15 voxels\)"):
        read_mask(save(path, array))


def test_empty_mask_is_valid(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path / "a.nii.gz", np.zeros(SHAPE_XYZ, np.uint8)), allowed_labels=[0, 1])
    assert count_values(mask.array) == {0: 60}


def test_count_values_of_large_and_negative_numbers() -> None:
    assert count_values(np.array([[[-3, 70000, 70000]]])) == {-3: 1, 70000: 2}
    assert count_values(np.zeros((0, 2, 2), np.uint8)) == {}


# --- geometry


def test_geometry_within_tolerance() -> None:
    a = Volume(np.zeros((3, 5, 4)), (5.0, 0.6, 0.5), LPS, Path("a"))
    shifted = LPS.copy()
    shifted[0, 3] = 0.01
    b = Volume(np.zeros((3, 5, 4)), (5.0, 0.6, 0.5), shifted, Path("b"))
    check_same_geometry(a, a)
    check_same_geometry(a, b, tolerance_mm=0.02)
    with pytest.raises(InputError, match=r"\[geometry-differs\] b: .*corners 0.01 mm apart"):
        check_same_geometry(a, b)
    with pytest.raises(InputError, match=r"\[shape-differs\] c: .*\(3, 5, 4\) of a, got \(2, 5, 4\)"):
        check_same_geometry(a, Volume(np.zeros((2, 5, 4)), (5.0, 0.6, 0.5), LPS, Path("c")))
