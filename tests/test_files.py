"""Opening, comparing, repairing and writing images and masks."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nifti_files import BAD_FILES, LPS, QFORM_SFORM_DIFFER, SHAPE_XYZ, BadFile, oblique, save_nifti, sheared

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import (
    ENDINGS,
    Volume,
    check_same_geometry,
    count_values,
    read_channels,
    read_image,
    read_mask,
    repair_geometry,
    write_volume,
)

LAS = np.diag([0.5, -0.6, 5.0, 1.0])


def volume(affine: np.ndarray = LPS, name: str = "a", shape: tuple[int, int, int] = (3, 5, 4)) -> Volume:
    return Volume(np.zeros(shape, np.uint8), (5.0, 0.6, 0.5), affine, Path(name))


def moved(x_mm: float = 0.0, z_mm: float = 0.0) -> np.ndarray:
    affine = LPS.copy()
    affine[[0, 2], 3] += (x_mm, z_mm)
    return affine


# --- reading


def test_image_with_its_geometry_and_checksum(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz")
    image = read_image(str(path))
    assert image.array.shape == (3, 5, 4)
    assert image.array.dtype == np.int16
    assert image.array[2, 1, 3] == nibabel.load(path).get_fdata()[3, 1, 2]
    assert image.spacing_mm == pytest.approx((5.0, 0.6, 0.5))
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.path == path
    assert (image.changed, image.repaired_voxels, image.warnings) == (False, 0, ())
    assert image.corners_mm().shape == (8, 3)


@pytest.mark.parametrize("bad", BAD_FILES, ids=str)
def test_bad_files_are_refused_by_name(tmp_path: Path, bad: BadFile) -> None:
    path = tmp_path / f"case{bad.ending}"
    bad.write(path)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=rf"^\[{bad.code}\] {path}: expected .* -> \w+"):
            read(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".gipl"])
def test_bad_files_of_other_formats(tmp_path: Path, ending: str) -> None:
    for bad in BAD_FILES:
        if bad.name in ("empty file", "folder", "missing file", "link loop"):
            path = tmp_path / f"{bad.name}{ending}"
            bad.write(path)
            with pytest.raises(InputError, match=rf"^\[{bad.code}\] {path}: expected "):
                read_image(path)
    for value in (np.nan, np.inf):
        array = np.zeros((3, 5, 4), np.float32)
        array[2, 1, 3] = value
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"a{ending}"))
        with pytest.raises(InputError, match=r"\[not-finite\]"):
            read_image(tmp_path / f"a{ending}")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_nifti(tmp_path / "a.nii.gz")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # a superuser may read everything, so mode 000 shows nothing

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"\[unreadable-file\] .*expected a readable file, got: Permission denied"):
        read_image(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"\[unreadable-file\] .*got a pipe or device"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.png", "a.hdr", "a.gz", "nii.gz", "a.nii.gz.tmp"])
def test_unknown_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\[unknown-ending\] .*expected one of .nii.gz, .nii, .nrrd, .mha, .gipl"):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match=r"\[unknown-ending\]"):
        write_volume(volume(), tmp_path / name)


def test_voxels_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[3, 1, 2] = np.nan
    array[0, 4, 2] = np.inf
    path = save_nifti(tmp_path / "a.nii.gz", array)
    for read, remedy in (
        (read_image, "by -1000 outside a CT"),
        (read_mask, "export the mask again, .* 0 for background"),
    ):
        fault = r"got 2 NaN or infinite, the first at \(z, y, x\) = \(2, 1, 3\)"
        with pytest.raises(InputError, match=f"{fault} -> .*{remedy}$"):
            read(path)


def test_ending_of_a_text_file_and_of_packed_content(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("no image")
    remedy = "export the file again, or rename it to a.nii if it is an uncompressed NIfTI"
    with pytest.raises(InputError, match=rf"\[wrong-ending\] .*got no gzip -> {remedy}$"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").write_bytes(b"\x1f\x8b packed")
    with pytest.raises(InputError, match=r"\[wrong-ending\] .*got gzip -> rename it to b.nii.gz$"):
        read_image(tmp_path / "b.nii")


def test_scaling_that_overflows_is_not_finite(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", np.full(SHAPE_XYZ, 3e38, np.float32), scl_slope=2.0)
    with pytest.raises(InputError, match=r"\[not-finite\] .*got 60 NaN or infinite"):
        read_image(path)


def test_qform_and_sform_that_differ_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    QFORM_SFORM_DIFFER.write(path)
    assert [warning.code for warning in read_image(path).warnings] == ["qform-sform"]
    assert "the sform was used" in read_mask(path).warnings[0].fault


# --- masks


def test_mask_of_floats_is_repaired_and_counted(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.float32)
    array[0, 0, :2] = 1.0000153
    array[1, 1, 1] = 1.0
    mask = read_mask(save_nifti(tmp_path / "a.nii.gz", array), allowed_labels=[0, 1])
    assert mask.array.dtype == np.int32
    assert count_values(mask.array) == {0: 57, 1: 3}
    assert (mask.repaired_voxels, mask.changed) == (2, True)


def test_mask_of_whole_floats_is_what_the_file_holds(tmp_path: Path) -> None:
    mask = read_mask(save_nifti(tmp_path / "a.nii.gz", np.ones(SHAPE_XYZ, np.float64)))
    assert (mask.array.dtype, mask.repaired_voxels, mask.changed) == (np.int32, 0, False)


@pytest.mark.parametrize(("value", "text"), [(0.99, "0.99"), (1.002, "1.002"), (3e9, r"3e\+09")])
def test_mask_of_other_floats_is_refused(tmp_path: Path, value: float, text: str) -> None:
    array = np.zeros(SHAPE_XYZ, np.float64)
    array[0, 2, 1] = value
    with pytest.raises(InputError, match=rf"\[non-integer-mask\] .*got {text} at \(z, y, x\) = \(1, 2, 0\)"):
        read_mask(save_nifti(tmp_path / "a.nii.gz", array))


def test_unknown_mask_values_are_counted(tmp_path: Path) -> None:
    array = np.zeros(SHAPE_XYZ, np.int16)
    array[0, 0, :2] = 255
    path = save_nifti(tmp_path / "a.nii.gz", array)
    assert read_mask(path).array.max() == 255
    with pytest.raises(InputError, match=r"expected the values \[0, 1\], got 255 \(2 voxels\) -> "):
        read_mask(path, allowed_labels=(0, 1))
    array[1] = -1
    with pytest.raises(InputError, match=r"expected values from 0 on, got -1 \(15 voxels\)"):
        read_mask(save_nifti(path, array))
    with pytest.raises(InputError, match=r"9 \(1 voxels\) and 50 more values"):
        read_mask(save_nifti(path, np.arange(60, dtype=np.uint8).reshape(SHAPE_XYZ)), allowed_labels=[])


def test_empty_mask_is_valid(tmp_path: Path) -> None:
    mask = read_mask(save_nifti(tmp_path / "a.nii.gz", np.zeros(SHAPE_XYZ, np.uint8)), allowed_labels=[0, 1])
    assert count_values(mask.array) == {0: 60}


def test_count_values_of_large_and_negative_numbers() -> None:
    assert count_values(np.array([[[-3, 70000, 70000]]])) == {-3: 1, 70000: 2}
    assert count_values(np.zeros((0, 2, 2), np.uint8)) == {}


# --- writing


@pytest.mark.parametrize(
    ("ending", "affine"),
    [(ending, affine) for ending in ENDINGS for affine in (LPS, LAS, oblique()) if ending != ".gipl" or affine is LPS],
)
def test_a_marker_is_found_at_its_place_in_the_patient(tmp_path: Path, ending: str, affine: np.ndarray) -> None:
    array = np.zeros((9, 30, 40), np.int16)
    array[7, 20, 33] = 1000
    place = (affine @ [33, 20, 7, 1])[:3]  # RAS+ mm
    original = Volume(array, (5.0, 0.6, 0.5), affine, tmp_path / "a")
    write_volume(original, tmp_path / f"a{ending}")

    found = read_image(tmp_path / f"a{ending}")
    z, y, x = np.argwhere(found.array == 1000)[0]
    np.testing.assert_allclose((found.affine @ [x, y, z, 1])[:3], place, atol=1e-4)
    check_same_geometry(original, found)

    image = sitk.ReadImage(str(tmp_path / f"a{ending}"))
    index = image.TransformPhysicalPointToIndex((place * [-1, -1, 1]).tolist())
    assert image[index] == 1000

    if ending in (".nii", ".nii.gz"):
        nifti = nibabel.load(tmp_path / f"a{ending}")
        index = np.rint(np.linalg.inv(nifti.affine) @ [*place, 1])[:3].astype(int)
        assert nifti.dataobj[tuple(index)] == 1000


def test_what_would_be_refused_at_reading_is_not_written(tmp_path: Path) -> None:
    for affine, code in ((sheared(), "sheared-affine"), (np.diag([0.5, 0.6, 60.0, 1.0]), "bad-spacing")):
        with pytest.raises(InputError, match=rf"\[{code}\]"):
            write_volume(volume(affine), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"\[unwritable-image\]"):
        write_volume(Volume(np.zeros((3, 5, 4), np.float16), (5.0, 0.6, 0.5), LPS, path), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- geometry


def test_geometry_within_tolerance() -> None:
    a, b = volume(), volume(moved(0.01), "b")
    check_same_geometry(a, a)
    check_same_geometry(a, b, tolerance_mm=0.02)
    with pytest.raises(InputError, match=r"\[geometry-differs\] b: .*within 0.001 mm, got corners 0.01 mm apart"):
        check_same_geometry(a, b)
    with pytest.raises(InputError, match=r"\[shape-differs\] c: .*\(3, 5, 4\) of a, got \(2, 5, 4\)"):
        check_same_geometry(a, volume(name="c", shape=(2, 5, 4)))


def test_flipped_direction_is_another_geometry() -> None:
    with pytest.raises(InputError, match=r"\[geometry-differs\]"):
        check_same_geometry(volume(), volume(LAS))


@pytest.mark.parametrize("affine", [moved(0.24), moved(z_mm=2.4), moved(x_mm=-0.24, z_mm=-2.4)])
def test_geometry_within_half_a_voxel_is_repaired(affine: np.ndarray) -> None:
    repaired = repair_geometry(volume(), volume(affine, "b"))
    np.testing.assert_array_equal(repaired.affine, LPS)
    assert (repaired.changed, repaired.path) == (True, Path("b"))
    check_same_geometry(volume(), repaired)


def test_another_spacing_is_repaired_with_the_affine() -> None:
    other = Volume(np.zeros((3, 5, 4), np.uint8), (5.5, 0.6, 0.5), np.diag([-0.5, -0.6, 5.5, 1.0]), Path("b"))
    assert repair_geometry(volume(), other).spacing_mm == (5.0, 0.6, 0.5)


def test_nothing_to_repair() -> None:
    b = volume(moved(0.0005), "b")
    assert repair_geometry(volume(), b) is b


def test_what_is_beyond_repair() -> None:
    for affine in (moved(0.26), moved(z_mm=2.6), LAS):
        with pytest.raises(InputError, match=r"\[geometry-differs\] b: .*within half a voxel, got corners .* voxels"):
            repair_geometry(volume(), volume(affine, "b"))
    with pytest.raises(InputError, match=r"\[shape-differs\]"):
        repair_geometry(volume(), volume(name="b", shape=(2, 5, 4)))


# --- memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_for_a_large_ct_and_its_mask(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-1000, 1000, (512, 512)).astype(np.int16)
    large = np.broadcast_to(rows[:, :, None], (512, 512, 60))
    save_nifti(tmp_path / "image.nii.gz", large)
    save_nifti(tmp_path / "mask.nii.gz", np.zeros((512, 512, 60), np.float32))  # the costliest kind
    script = (
        "import re, sys\n"
        "from nnunet_multitask.files import *\n"
        "image, mask = read_image(sys.argv[1]), read_mask(sys.argv[2])\n"
        "check_same_geometry(image, mask)\n"
        "write_volume(image, sys.argv[3])\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    paths = [str(tmp_path / name) for name in ("image.nii.gz", "mask.nii.gz", "copy.nii.gz")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 512 * 1024, f"{int(done.stdout) // 1024} MiB"  # a worker may take 1 GiB


def test_channels_of_a_4d_file(tmp_path: Path) -> None:
    array = np.arange(120, dtype=np.int16).reshape(4, 5, 3, 2)
    path = save_nifti(tmp_path / "a.nii.gz", array, LAS)
    first, second = read_channels(path)
    np.testing.assert_array_equal(first.array, array[..., 0].T)
    np.testing.assert_array_equal(second.array, array[..., 1].T)
    assert first.sha256 == second.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert first.changed
    np.testing.assert_allclose(second.affine, LAS)
    write_volume(second, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii.gz").array, second.array)


def test_channels_of_other_files(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"\[not-4d\] .*expected a 4-D image, got the shape \(4, 5, 3\) -> "):
        read_channels(path)
    with pytest.raises(InputError, match=r"\[not-4d\] .*a.mha: expected several channels in one of .nii.gz, .nii"):
        read_channels(tmp_path / "a.mha")
    array = np.zeros((2, 2, 2, 2), np.float32)
    array[1, 0, 1, 1] = np.nan
    path = save_nifti(tmp_path / "b.nii.gz", array, LAS)
    with pytest.raises(InputError, match=r"\[not-finite\] .*at \(z, y, x\) = \(1, 0, 1\)"):
        read_channels(path)
