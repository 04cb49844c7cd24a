"""Reading and writing NIfTI-1."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from nifti_files import BAD_FILES, LPS, SHAPE_XYZ, BadFile, nifti_bytes, oblique, save_nifti, sheared

from nnunet_multitask.errors import InputError
from nnunet_multitask.nifti import read_nifti, write_nifti

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def simpleitk_affine(path: Path) -> np.ndarray:
    """Return the geometry of SimpleITK as (4, 4) affine to RAS+ mm."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


# --- voxels


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_types_and_byte_orders(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.arange(60).reshape(SHAPE_XYZ).astype(np.dtype(dtype).newbyteorder(order))
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(nibabel.Nifti1Image(array, LPS, header), tmp_path / "a.nii.gz")
    found = read_nifti(tmp_path / "a.nii.gz").array
    assert found.dtype == np.dtype(dtype)
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array.T)


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected", "value"),
    [
        ("int16", 1, -1024, "float32", -1023),
        ("uint8", 2, 1, "float32", 3),
        ("int32", 0.5, 0, "float64", 0.5),
        ("float32", 2, 1, "float32", 3),
        ("float64", 2, 1, "float64", 3),
        ("int16", 0, 0, "int16", 1),
        ("int16", np.nan, np.nan, "int16", 1),
    ],
)
def test_scaling(tmp_path: Path, dtype: str, slope: float, intercept: float, expected: str, value: float) -> None:
    array = np.ones(SHAPE_XYZ, dtype)
    path = save_nifti(tmp_path / "a.nii.gz", array, scl_slope=slope, scl_inter=intercept)
    found = read_nifti(path).array
    assert found.dtype == np.dtype(expected)
    assert np.all(found == value)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


@pytest.mark.parametrize(("slope", "intercept"), [(0, 7), (np.inf, 0), (2, np.nan), (1, np.inf)])
def test_scaling_that_readers_guess_at_is_refused(tmp_path: Path, slope: float, intercept: float) -> None:
    path = save_nifti(tmp_path / "a.nii", scl_slope=slope, scl_inter=intercept)
    with pytest.raises(InputError, match=r"\[bad-scaling\] .*a finite slope other than 0 and a finite intercept"):
        read_nifti(path)


def test_trailing_dimensions_of_one_are_dropped(tmp_path: Path) -> None:
    assert read_nifti(save_nifti(tmp_path / "a.nii", dim=[5, 4, 5, 3, 1, 1, 1, 1])).array.shape == (3, 5, 4)
    assert read_nifti(save_nifti(tmp_path / "b.nii", dim=[4, 4, 15, 1, 1, 1, 1, 1])).array.shape == (1, 15, 4)


def test_voxels_behind_an_extension(tmp_path: Path) -> None:
    content = nifti_bytes(vox_offset=368)
    path = tmp_path / "a.nii"
    path.write_bytes(content[:348] + b"\1\0\0\0" + b"\x10\0\0\0\6\0\0\0comments" + content[352:])
    np.testing.assert_array_equal(read_nifti(path).array, np.arange(60).reshape(SHAPE_XYZ).T)


# --- files that are refused


@pytest.mark.parametrize("bad", [bad for bad in BAD_FILES if bad.number in (1, 2, 3, 5, 6, 7, 8, 11, 12)], ids=str)
def test_bad_files(tmp_path: Path, bad: BadFile) -> None:
    path = tmp_path / f"a{bad.ending}"
    bad.write(path)
    with pytest.raises(InputError, match=rf"\[{bad.code}\] .*a{bad.ending}: expected .* -> "):
        read_nifti(path)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"sizeof_hdr": 540}, "expected a NIfTI-1 file, got NIfTI-2"),
        ({"magic": b"ni1"}, "got another magic number"),
        ({"datatype": 999}, "expected a known datatype, got the code 999"),
        ({"datatype": 32}, "expected real numbers, got complex64"),
        ({"datatype": 1536}, "expected real numbers, got"),  # 16-byte floats
        ({"vox_offset": np.nan}, "expected voxels after the header"),
        ({"vox_offset": 0}, "expected voxels after the header"),
        ({"vox_offset": 352.5}, "expected voxels after the header"),
        ({"dim": [0, 4, 5, 3, 1, 1, 1, 1]}, "expected positive dimensions"),
        ({"pixdim": [1, 0.5, 0.6, 51, 0, 0, 0, 0]}, r"spacing in 0 to 50 mm, got \[0.5, 0.6, 51.0\]"),
    ],
)
def test_bad_headers(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_nifti(save_nifti(tmp_path / "a.nii.gz", **fields))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_less_than_a_header(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(b"x" * 99) if ending == ".nii.gz" else b"x" * 99)
    with pytest.raises(InputError, match=r"\[bad-nifti\] .*expected a NIfTI-1 header of 348 bytes, got 99"):
        read_nifti(path)


def test_sheared_affine_names_the_way_out(tmp_path: Path) -> None:
    for number, fields in enumerate(({}, {"qform_code": 0}, {"sform_code": 2})):
        path = save_nifti(tmp_path / f"{number}.nii", affine=sheared(), qform=LPS, **fields)
        with pytest.raises(InputError, match=r"\[sheared-affine\] .*nnunet-multitask convert dicom, .*or resample"):
            read_nifti(path)


# --- geometry: what nnU-Net trains with is what SimpleITK reads


@pytest.mark.parametrize("sform_code", range(5))
@pytest.mark.parametrize("qform_code", range(5))
@pytest.mark.parametrize(
    "qform",
    [oblique(), oblique(14), np.diag([1, 1, 1, 0]) @ oblique() + np.diag([0, 0, 0, 1.0]), np.diag([0.5, -0.6, 5, 1])],
    ids=["same", "turned", "moved", "mirrored"],
)
def test_qform_or_sform_as_simpleitk_chooses(
    tmp_path: Path, sform_code: int, qform_code: int, qform: np.ndarray
) -> None:
    path = save_nifti(tmp_path / "a.nii", affine=oblique(), qform=qform, sform_code=sform_code, qform_code=qform_code)
    nifti = read_nifti(path)
    np.testing.assert_allclose(nifti.affine, simpleitk_affine(path), atol=1e-5)
    differ = np.abs(oblique() - qform).max() > 1e-3
    expected = ["qform-sform"] if sform_code and qform_code and differ else []
    if not (sform_code or qform_code):
        expected = ["no-orientation"]
    assert [warning.code for warning in nifti.warnings] == expected


@pytest.mark.parametrize(("sform_code", "used"), [(1, "sform"), (2, "qform")])
def test_qform_and_sform_that_differ_give_a_warning(tmp_path: Path, sform_code: int, used: str) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", qoffset_x=7.0, sform_code=sform_code)
    nifti = read_nifti(path)
    assert str(nifti.warnings[0]) == (
        f"[qform-sform] {path}: expected equal qform and sform, they differ by 7; the {used} was used, "
        "as SimpleITK does -> correct the header"
    )
    assert nifti.affine[0, 3] == (7 if used == "qform" else 0)


def test_qform_and_sform_that_differ_in_a_4d_file(tmp_path: Path) -> None:
    array = np.zeros((*SHAPE_XYZ, 2), np.int16)
    path = save_nifti(tmp_path / "a.nii.gz", array, oblique(), oblique(10), sform_code=2)
    nifti = read_nifti(path, dimensions=4)
    np.testing.assert_allclose(nifti.affine, oblique(10), atol=1e-5)
    assert "the qform was used" in nifti.warnings[0].fault


def test_spacing_is_that_of_pixdim(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii", qform_code=0, pixdim=[1, 0.5, 0.6, 4, 0, 0, 0, 0])
    nifti = read_nifti(path)
    np.testing.assert_allclose(nifti.affine, simpleitk_affine(path), atol=1e-6)
    np.testing.assert_allclose(nifti.affine[2, 2], 4)
    assert "expected pixdim and sform to give the same spacing, got [0.5, 0.6, 4.0] and [0.5, 0.6, 5.0] mm" in str(
        nifti.warnings[0]
    )


@pytest.mark.parametrize(("unit", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (2 | 8, 1)])
@pytest.mark.parametrize("code", ["qform_code", "sform_code"])
def test_unit_of_length(tmp_path: Path, unit: int, factor: float, code: str) -> None:
    affine = oblique()
    affine[:3] /= factor
    path = save_nifti(tmp_path / "a.nii", affine=affine, xyzt_units=unit, **{code: 0})
    found = read_nifti(path).affine
    np.testing.assert_allclose(found, oblique(), atol=1e-5)
    np.testing.assert_allclose(found, simpleitk_affine(path), atol=1e-5)


@pytest.mark.parametrize("qfac", [0, 5, np.nan])
def test_handedness_that_is_not_1(tmp_path: Path, qfac: float) -> None:
    path = save_nifti(tmp_path / "a.nii", affine=oblique(), sform_code=0, pixdim=[qfac, 0.5, 0.6, 5, 0, 0, 0, 0])
    np.testing.assert_allclose(read_nifti(path).affine, simpleitk_affine(path), atol=1e-5)


def test_directions_that_are_none(tmp_path: Path) -> None:
    zero = {"srow_x": [0, 0, 0, 0], "srow_y": [0, 0, 0, 0], "srow_z": [0, 0, 0, 0]}
    with pytest.raises(InputError, match=r"\[bad-affine\] .*expected directions of some length, got the sform"):
        read_nifti(save_nifti(tmp_path / "a.nii", qform_code=0, **zero))
    with pytest.raises(InputError, match=r"\[bad-affine\] .*got the qform"):
        read_nifti(save_nifti(tmp_path / "a.nii", sform_code=0, quatern_b=2.0))
    with pytest.raises(InputError, match=r"\[bad-affine\]"):
        read_nifti(save_nifti(tmp_path / "a.nii", qform_code=0, srow_x=[-0.5, 0, 0, np.nan]))
    other = read_nifti(save_nifti(tmp_path / "a.nii", affine=oblique(), **zero))
    np.testing.assert_allclose(other.affine, oblique(), atol=1e-5)
    assert "the qform was used" in str(other.warnings[0])


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any orientation of the axes, left- or right-handed, turned a little or much, at CT and MR spacings."""
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    directions = axes
    for first, second in ((0, 1), (1, 2), (0, 2)):
        angle = np.deg2rad(draw(st.sampled_from([0.0, 0.0, 0.01]) | st.floats(-45, 45)))
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        directions = turn @ directions
    affine = np.eye(4)
    affine[:3, :3] = directions * draw(st.tuples(*[st.floats(0.2, 8.0)] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-400, 400)] * 3))
    return affine


FAR = np.array([511, 511, 59, 1.0])  # the last voxel of a large CT


@settings(deadline=None, max_examples=60)
@given(affine=affines(), codes=st.sampled_from([(1, 1), (1, 0), (2, 0), (0, 1), (0, 2), (2, 2)]))
def test_any_orthogonal_header_is_read_as_simpleitk_reads_it(
    tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray, codes: tuple[int, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.nii"
    sform_code, qform_code = codes
    save_nifti(path, affine=affine, sform_code=sform_code, qform_code=qform_code)
    nifti = read_nifti(path)
    assert np.abs((nifti.affine - simpleitk_affine(path)) @ FAR).max() < 2e-4
    assert nifti.warnings == ()


@settings(deadline=None, max_examples=60)
@given(affine=affines())
def test_any_orthogonal_affine_survives_writing(tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "any.nii.gz"
    write_nifti(np.zeros((2, 3, 4), np.uint8), affine, path)
    nifti = read_nifti(path)
    assert nifti.warnings == ()
    for found in (nifti.affine, simpleitk_affine(path), nibabel.load(path).affine):
        assert np.abs((found - affine) @ FAR).max() < 5e-4


def test_a_qform_of_axes_to_left_and_posterior_is_not_turned_by_rounding(tmp_path: Path) -> None:
    affine = oblique(-21.125)
    path = save_nifti(tmp_path / "a.nii", affine=affine, sform_code=0)
    assert np.abs((read_nifti(path).affine - affine) @ FAR).max() < 1e-3


def test_a_qform_near_a_half_turn_is_not_said_to_differ_by_its_rounding(tmp_path: Path) -> None:
    angle = np.deg2rad(0.03)  # its quaternion leaves 7e-8 of 1, less than single precision can tell from 0
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn * [0.2, 8.0, 8.0]
    path = save_nifti(tmp_path / "a.nii", affine=affine)
    header = nibabel.load(path).header
    assert np.abs(header.get_qform() - header.get_sform()).max() > 1e-3
    assert read_nifti(path).warnings == ()
    moved = save_nifti(tmp_path / "moved.nii", affine=affine, qoffset_x=2e-3)  # offsets are not rounded so
    assert [warning.code for warning in read_nifti(moved).warnings] == ["qform-sform"]
    affine[:3, :3] = affine[:3, :3] @ turn @ turn
    turned = save_nifti(tmp_path / "turned.nii", affine=affine, qform=np.diag([0.2, -8.0, -8.0, 1.0]))
    assert [warning.code for warning in read_nifti(turned).warnings] == ["qform-sform"]


# --- writing


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [*TYPES, ">i2", "bool"])
def test_written_voxels_are_read_by_all(tmp_path: Path, dtype: str, ending: str) -> None:
    array = (np.arange(60).reshape(3, 5, 4) % 2).astype(dtype)
    path = tmp_path / f"a{ending}"
    write_nifti(array, oblique(), path)
    kept = np.dtype(np.uint8 if dtype == "bool" else dtype).newbyteorder("=")
    for found in (
        read_nifti(path).array,
        sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        np.asarray(nibabel.load(path).dataobj).T,
    ):
        assert found.dtype == kept
        np.testing.assert_array_equal(found, array)
    header = nibabel.load(path).header
    assert (header["qform_code"], header["sform_code"], header["xyzt_units"]) == (1, 1, 2)


def test_arrays_in_any_memory_order(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(4, 5, 3).T[:, ::-1]
    write_nifti(array, LPS, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz").array, array)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2), np.float16), np.zeros((1, 1, 32768), np.uint8), np.zeros((2, 2)), np.zeros((0, 2, 2))]
)
def test_what_nifti_cannot_hold(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\[unwritable-image\] .*expected a shape and a type that NIfTI-1 knows"):
        write_nifti(array, LPS, tmp_path / "a.nii")


def test_size_is_within_a_tenth_of_simpleitk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.normal(0, 4, (6, 128, 128)), axis=2)
    mask = noise > 20
    for name, array in {
        "ct": noise.astype(np.int16), "window": noise.clip(0, 80).astype(np.float32) / 80, "mask": mask.astype(np.uint8)
    }.items():  # fmt: skip
        write_nifti(array, LPS, tmp_path / f"{name}.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "reference.nii.gz"))
        size, reference = ((tmp_path / file).stat().st_size for file in (f"{name}.nii.gz", "reference.nii.gz"))
        assert size < 1.1 * reference, f"{name}: {size} and {reference} bytes"
