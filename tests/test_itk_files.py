"""NRRD, MetaImage and GIPL: what SimpleITK lets pass is refused before it reads."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nifti_files import LPS, flip_bit, oblique, sheared

from nnunet_multitask.errors import InputError
from nnunet_multitask.itk_files import read_affine, read_itk, write_itk

ENDINGS = [".nrrd", ".mha", ".gipl"]
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (3, 5, 4)).astype(np.int16)


def save(path: Path, compressed: bool = True) -> Path:
    image = sitk.GetImageFromArray(ARRAY)
    image.SetSpacing((0.5, 0.6, 5.0))
    image.SetOrigin((10, -20, 30))
    sitk.WriteImage(image, str(path), compressed)
    return path


def edit(path: Path, pattern: bytes, replacement: bytes) -> Path:
    content, count = re.subn(pattern, replacement, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
def test_whole_files(tmp_path: Path, ending: str, compressed: bool) -> None:
    array, affine, sha256 = read_itk(save(tmp_path / f"a{ending}", compressed))
    np.testing.assert_array_equal(array, ARRAY)
    expected = LPS.copy()
    expected[:3, 3] = (-10, 20, 30)
    np.testing.assert_allclose(affine, expected, atol=1e-6)
    assert len(sha256) == 64


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "bool"])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_written_files_are_read_back(tmp_path: Path, ending: str, dtype: str) -> None:
    array = (ARRAY > 0).astype(dtype)
    path = tmp_path / f"a{ending}"
    write_itk(array, oblique(), path)
    found, affine, _ = read_itk(path)
    assert found.dtype == (np.dtype(np.uint8) if dtype == "bool" else array.dtype)
    np.testing.assert_array_equal(found, array)
    np.testing.assert_allclose(affine, oblique(), atol=1e-6)
    np.testing.assert_allclose(read_affine(path), oblique(), atol=1e-6)


def test_type_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"\[unwritable-image\] .*expected a type of voxels that .mha knows, got float16"
    ):
        write_itk(ARRAY.astype(np.float16), LPS, tmp_path / "a.mha")


def test_gipl_would_lose_the_directions(tmp_path: Path) -> None:
    for affine in (oblique(), np.diag([0.5, -0.6, 5.0, 1.0])):
        with pytest.raises(InputError, match=r"\[unwritable-image\] .*expected axes to left, posterior and superior"):
            write_itk(ARRAY, affine, tmp_path / "a.gipl")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("missing", [1, 5, 60])
def test_truncated_files(tmp_path: Path, ending: str, compressed: bool, missing: int) -> None:
    path = save(tmp_path / f"a{ending}", compressed)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(InputError, match=r"\[(truncated-file|damaged-gzip)\]"):
        read_itk(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_every_flipped_bit_in_a_compressed_stream_is_found(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a{ending}")
    content = path.read_bytes()
    marks = {".nrrd": b"\n\n\x1f\x8b", ".mha": b"LOCAL\n"}
    start = content.index(marks[ending]) + (
        12 if ending == ".nrrd" else 8
    )  # behind time and name of gzip, head of zlib
    for byte in range(start, len(content)):
        path.write_bytes(content)
        flip_bit(path, byte, byte % 8)
        try:
            array = read_itk(path)[0]
        except InputError:
            continue
        np.testing.assert_array_equal(array, ARRAY)


@pytest.mark.parametrize("ending", ENDINGS)
def test_more_than_the_header_says(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a{ending}", compressed=False)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"\[oversized-file\]"):
        read_itk(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_size_by_the_header_takes_no_memory(tmp_path: Path, compressed: bool) -> None:
    huge = b"32767 32767 32767"
    nrrd = edit(save(tmp_path / "a.nrrd", compressed), rb"sizes: [\d ]+", b"sizes: " + huge)
    mha = edit(save(tmp_path / "a.mha", compressed), rb"DimSize = [\d ]+", b"DimSize = " + huge)
    gipl = edit(save(tmp_path / "a.gipl"), rb"^.{6}", struct.pack(">3h", 32767, 32767, 32767))
    for path in (nrrd, mha, gipl):
        with pytest.raises(InputError, match=r"\[truncated-file\] .*expected 70362301923"):
            read_itk(path)


@pytest.mark.parametrize("size", [b"0 5 3", b"-4 5 3"])
def test_impossible_sizes(tmp_path: Path, size: bytes) -> None:
    nrrd = edit(save(tmp_path / "a.nrrd"), rb"sizes: [\d ]+", b"sizes: " + size)
    mha = edit(save(tmp_path / "a.mha"), rb"DimSize = [\d ]+", b"DimSize = " + size)
    for path in (nrrd, mha):
        with pytest.raises(InputError, match=r"\[(unreadable-image|truncated-file)\] .*expected "):
            read_itk(path)


@pytest.mark.parametrize("value", [b"0", b"nan", b"-0.5", b"51", b"inf", b"x"])
def test_impossible_spacing(tmp_path: Path, value: bytes) -> None:
    mha = edit(save(tmp_path / "a.mha"), rb"ElementSpacing = \S+", b"ElementSpacing = " + value)
    old = edit(save(tmp_path / "old.nrrd"), rb"space directions: .*", b"spacings: " + value + b" 0.6 5")
    old = edit(edit(old, rb"space: .*\n", b""), rb"space origin: .*\n", b"")
    paths = [mha, old]
    if value != b"-0.5":  # which only turns the axis
        paths.append(edit(save(tmp_path / "a.nrrd"), rb"directions: \([^,]*", b"directions: (" + value))
    if value != b"x":
        paths.append(save(tmp_path / "a.gipl"))
        content = bytearray(paths[-1].read_bytes())
        content[10:14] = struct.pack(">f", float(value))
        paths[-1].write_bytes(content)
    for path in paths:
        with pytest.raises(InputError, match=r"\[bad-spacing\] .*expected \(x, y, z\) spacing in 0 to 50 mm"):
            read_itk(path)


def test_spacing_must_be_there(tmp_path: Path) -> None:
    mha = edit(save(tmp_path / "a.mha"), rb"ElementSpacing = .*\n", b"")
    nrrd = edit(save(tmp_path / "a.nrrd"), rb"space directions: .*\n", b"")
    for path in (mha, nrrd):
        with pytest.raises(InputError, match=r"\[bad-spacing\]"):
            read_itk(path)


def test_sheared_axes(tmp_path: Path) -> None:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ sheared()
    vectors = " ".join(f"({','.join(map(str, lps[:3, axis]))})" for axis in range(3))
    nrrd = edit(save(tmp_path / "a.nrrd"), rb"space directions: .*", f"space directions: {vectors}".encode())
    mha = edit(save(tmp_path / "a.mha"), rb"TransformMatrix = .*", b"TransformMatrix = 1 0 0 0 1 0 0 0.2 1")
    for path in (nrrd, mha):
        with pytest.raises(InputError, match=r"\[sheared-affine\]"):
            read_itk(path)


def test_directions_with_a_length(tmp_path: Path) -> None:
    path = edit(save(tmp_path / "a.mha"), rb"TransformMatrix = .*", b"TransformMatrix = 2 0 0 0 1 0 0 0 1")
    with pytest.raises(InputError, match=r"\[bad-affine\] .*expected directions of length 1"):
        read_itk(path)


def test_other_than_one_real_number_in_each_of_three_dimensions(tmp_path: Path) -> None:
    images = {
        "2d": sitk.Image(4, 5, sitk.sitkInt16),
        "4d": sitk.Image((4, 5, 3, 2), sitk.sitkInt16),
        "rgb": sitk.Image((4, 5, 3), sitk.sitkVectorUInt8, 3),
    }
    for name, image in images.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.mha"))
        with pytest.raises(InputError, match=r"\[not-3d\] .*expected a 3-D image of one component, got"):
            read_itk(tmp_path / f"{name}.mha")
    sitk.WriteImage(sitk.Image((4, 5, 3), sitk.sitkComplexFloat32), str(tmp_path / "complex.nrrd"))
    with pytest.raises(InputError, match=r"\[(bad-datatype|not-3d)\]"):
        read_itk(tmp_path / "complex.nrrd")


def test_voxels_in_another_file_are_not_followed(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "a.mhd"))
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "b.nhdr"))
    (tmp_path / "a.mhd").rename(tmp_path / "a.mha")
    (tmp_path / "b.nhdr").rename(tmp_path / "b.nrrd")
    for name in ("a.mha", "b.nrrd"):
        with pytest.raises(InputError, match=r"\[unreadable-image\] .*voxels in the file"):
            read_itk(tmp_path / name)


def test_text_under_a_wrong_name(tmp_path: Path) -> None:
    for ending in ENDINGS:
        (tmp_path / f"a{ending}").write_text("no image at all " * 40)
        with pytest.raises(InputError, match=r"\[unreadable-image\] .*expected an? (NRRD|MetaImage|GIPL)"):
            read_itk(tmp_path / f"a{ending}")
