"""DICOM series as volumes: markers found again where the headers put them, and a real head CT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.dicom_volume import DicomVolume, read_series
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import read_image, write_volume

LPS_RAS = np.diag([-1.0, -1.0, 1.0])
HEAD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "head-ct-dicom"

Write = Callable[..., Path]
WriteSeries = Callable[..., list[Path]]


def tilted_positions(depths: list[float], degrees: float) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """Positions along the table and the orientation of a gantry tilted by an angle."""
    angle = np.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), -float(np.sin(angle)))
    # the table moves along z: slices a distance d apart are d / cos(angle) apart on the table
    return [np.array([-8.0, -6.0, -20 + depth / np.cos(angle)]) for depth in depths], orientation


def ball_slices(
    positions: list[np.ndarray], orientation: tuple[float, ...], centre_mm: np.ndarray, radius_mm: float, size: int = 48
) -> list[np.ndarray]:
    """Draw a soft ball into slices by the definition of a pixel's position in DICOM, HU."""
    rows, columns = np.indices((size, size))
    slices = []
    for position in positions:
        mm = (
            position
            + columns[..., None] * 0.5 * np.array(orientation[:3])
            + rows[..., None] * 0.5 * np.array(orientation[3:])
        )
        distance = np.linalg.norm(mm - centre_mm, axis=-1)
        slices.append(np.rint(1000 * np.exp(-((distance / radius_mm) ** 2)) - 1000).astype(np.int16))
    return slices


def centre_of_mass_ras(volume: DicomVolume) -> np.ndarray:
    weights = volume.volume.array.astype(float) + 1000
    index = np.array([(weights * grid).sum() for grid in np.indices(weights.shape)[::-1]]) / weights.sum()
    return volume.volume.affine[:3, :3] @ index + volume.volume.affine[:3, 3]


@pytest.mark.parametrize("degrees", [0, 18.5, -25])
@pytest.mark.parametrize("gaps", [[3.0] * 8, [2.0] * 5 + [1.0] + [4.0] * 4], ids=["even", "uneven"])
@pytest.mark.parametrize("centre", [(0, 5, -8), (5, 4, -10)])
def test_a_ball_is_found_where_the_headers_put_it(
    tmp_path: Path, write_series: WriteSeries, degrees: float, gaps: list[float], centre: tuple
) -> None:
    positions, orientation = tilted_positions([0.0, *np.cumsum(gaps)], degrees)
    slices = ball_slices(positions, orientation, np.array(centre), radius_mm=3)
    read = read_series(write_series(tmp_path, slices, positions, orientation))
    assert read.volume.array.dtype == np.int16
    spacing = np.array(read.volume.spacing_mm[::-1])
    axes = read.volume.affine[:3, :3] / spacing
    error_mm = np.abs(axes.T @ (centre_of_mass_ras(read) - LPS_RAS @ centre))
    assert (error_mm <= spacing / 8).all(), error_mm
    reasons = (["gantry-tilt"] if degrees else []) + (["uneven-slices"] if len(set(gaps)) > 1 else [])
    assert read.facts["resampled_for"] == reasons
    assert read.facts["tilt_degrees"] == pytest.approx(abs(degrees), abs=1e-3)


def test_an_even_stack_is_taken_voxel_by_voxel(tmp_path: Path, write_series: WriteSeries) -> None:
    slices = [np.random.default_rng(i).integers(-1000, 2000, (6, 5)).astype(np.int16) for i in range(4)]
    paths = write_series(tmp_path, slices, PixelSpacing=["0.6", "0.4"])
    read = read_series(paths)
    np.testing.assert_array_equal(read.volume.array, slices)
    np.testing.assert_allclose(read.volume.affine, [[-0.4, 0, 0, 10], [0, -0.6, 0, 12], [0, 0, 5, 0], [0, 0, 0, 1]])
    assert read.volume.spacing_mm == pytest.approx((5, 0.6, 0.4))
    assert read.volume.changed
    assert list(read.inputs) == paths
    assert read.facts["resampled_for"] == []


def test_tilt_without_shear_stays_oblique_and_exact(tmp_path: Path, write_series: WriteSeries) -> None:
    _, orientation = tilted_positions([0], 20)
    normal = np.cross(orientation[:3], orientation[3:])
    slices = [np.full((6, 5), i, np.int16) for i in range(4)]
    read = read_series(write_series(tmp_path, slices, [5.0 * i * normal for i in range(4)], orientation))
    np.testing.assert_array_equal(read.volume.array, slices)
    np.testing.assert_allclose(read.volume.affine[:3, 2], 5 * LPS_RAS @ normal, atol=1e-5)
    assert read.facts["resampled_for"] == []


@pytest.mark.parametrize(
    "orientation",
    [
        (-1, 0, 0, 0, -1, 0),  # prone
        (1, 0, 0, 0, -1, 0),  # mirrored columns: the normal points down
        (1, 0, 0, 0, 0, -1),  # coronal
        (0, 1, 0, 0, 0, -1),  # sagittal
    ],
)
def test_whole_axes_are_turned_to_left_posterior_up(
    tmp_path: Path, write_series: WriteSeries, orientation: tuple
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    slices = [np.arange(30, dtype=np.int16).reshape(6, 5) + 100 * i for i in range(3)]
    read = read_series(write_series(tmp_path, slices, [2.0 * i * normal for i in range(3)], orientation))
    array, affine = read.volume.array, read.volume.affine
    assert (np.diag(affine[:3, :3]) * [-1, -1, 1] > 0).all()
    for i, row, column in ((0, 0, 0), (2, 5, 1), (1, 3, 4)):
        mm = 2.0 * i * normal + 0.5 * column * np.array(orientation[:3]) + 0.5 * row * np.array(orientation[3:])
        index = np.linalg.inv(affine) @ [*(LPS_RAS @ mm), 1]
        x, y, z = np.rint(index[:3]).astype(int)
        np.testing.assert_allclose(index[:3], [x, y, z], atol=1e-6)
        assert array[z, y, x] == slices[i][row, column]


def test_slopes_that_differ_from_slice_to_slice(tmp_path: Path, write_dicom: Write) -> None:
    stored = np.full((4, 4), 100, np.int16)
    paths = [
        write_dicom(tmp_path / str(i), stored, (0, 0, 5 * i), RescaleSlope=str(i + 1), RescaleIntercept=str(-10 * i))
        for i in range(3)
    ]
    read = read_series(paths)
    assert read.volume.array[:, 0, 0].tolist() == [100, 190, 280]
    assert read.facts["slope_and_intercept"] == [[1, 0], [2, -10], [3, -20]]


def test_a_repeated_file_is_named_and_left_out(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, [np.full((4, 4), i, np.int16) for i in range(4)])
    copy = tmp_path / "zz"
    copy.write_bytes(paths[2].read_bytes())
    read = read_series([copy, *paths])
    assert read.volume.array[:, 0, 0].tolist() == [0, 1, 2, 3]
    (warning,) = read.volume.warnings
    assert str(warning) == (
        f"[duplicate-slice] {copy}: expected each slice once, the slice at 10.00 mm (instance 3) repeats another pixel "
        "by pixel and is left out -> remove the file"
    )
    assert set(read.inputs) == {copy, *paths}


def test_two_images_at_one_position_are_refused(tmp_path: Path, write_series: WriteSeries, write_dicom: Write) -> None:
    paths = write_series(tmp_path, [np.full((4, 4), i, np.int16) for i in range(4)])
    other = write_dicom(tmp_path / "other", np.full((4, 4), 7, np.int16), (-10, -12, 10), InstanceNumber=9)
    with pytest.raises(InputError, match=rf"\[ambiguous-slices\] {other}: .*another one than {paths[2]}"):
        read_series([*paths, other])


def test_a_missing_slice_is_named_and_filled(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, [np.full((4, 4), 10 * i, np.int16) for i in range(6)])
    read = read_series([path for index, path in enumerate(paths) if index != 3])
    (warning,) = read.volume.warnings
    assert warning.code == "missing-slice"
    assert warning.fault == (
        "expected a slice every 5.00 mm, got 10.00 mm between the slice at 10.00 mm (instance 3) and the slice at "
        "20.00 mm (instance 5): 1 missing, filled linearly"
    )
    assert read.volume.array[:, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert read.facts["wide_gaps"] == 1


def test_values_that_are_no_hounsfield_units_are_named(tmp_path: Path, write_series: WriteSeries) -> None:
    slices = [np.zeros((4, 4), np.int16)] * 3
    assert read_series(write_series(tmp_path / "a", slices, RescaleType="HU")).volume.warnings == ()
    (warning,) = read_series(write_series(tmp_path / "b", slices, RescaleType="MGML")).volume.warnings
    assert "[no-hounsfield]" in str(warning)
    assert "the headers say that the values are MGML" in str(warning)


def test_irregular_series_can_be_refused(tmp_path: Path, write_series: WriteSeries) -> None:
    slices = [np.zeros((4, 4), np.int16)] * 3
    tilted, orientation = tilted_positions([0, 5, 10], 15)
    even = write_series(tmp_path / "even", slices)
    assert read_series(even, on_irregular="refuse").volume.array.shape == (3, 4, 4)
    with pytest.raises(InputError, match=r"\[gantry-tilt\].*gaps of 5.00 to 5.00 mm and a tilt of 15.0 degrees"):
        read_series(write_series(tmp_path / "tilted", slices, tilted, orientation), on_irregular="refuse")
    uneven = write_series(tmp_path / "uneven", slices, [(0, 0, 0), (0, 0, 3), (0, 0, 9)])
    with pytest.raises(InputError, match=r"\[uneven-slices\].*gaps of 3.00 to 6.00 mm.*use --on-irregular resample"):
        read_series(uneven, on_irregular="refuse")


def test_slice_spacing_can_be_chosen(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, [np.full((4, 4), 10 * i, np.int16) for i in range(5)])
    read = read_series(paths, slice_spacing_mm=2.5)
    assert read.volume.array[:, 1, 1].tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert read.facts["resampled_for"] == ["slice-spacing"]
    assert read_series(paths, slice_spacing_mm=5).facts["resampled_for"] == []


def test_files_that_are_not_one_series(tmp_path: Path, write_series: WriteSeries, write_dicom: Write) -> None:
    slices = [np.zeros((4, 4), np.int16)] * 3
    a, b = write_series(tmp_path / "a", slices), write_series(tmp_path / "b", slices, SeriesInstanceUID="1.9")
    with pytest.raises(InputError, match=r"\[several-series\].*got 2 in 6 files"):
        read_series([*a, *b])
    with pytest.raises(InputError, match=r"\[no-series\].*got 0 in 1 files"):
        read_series(a[:1])
    with pytest.raises(InputError, match=r"\[no-series\]"):
        read_series([])
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputErrors, match=r"\[not-dicom\](.|\n)*\[missing-file\]"):
        read_series([*a, tmp_path / "text", tmp_path / "none"])


def test_every_slice_cut_short_is_named(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, [np.zeros((4, 4), np.int16)] * 4)
    for path in paths[1:3]:
        path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputErrors) as caught:
        read_series(paths)
    assert [(error.code, error.where) for error in caught.value.errors] == [
        ("truncated-dicom", str(path)) for path in paths[1:3]
    ]


@pytest.fixture(scope="module")
def head() -> DicomVolume:
    if not HEAD.is_dir():
        pytest.skip(f"no such folder: {HEAD}")
    return read_series(sorted(HEAD.glob("*.dcm")))


def at_lps(head: DicomVolume, mm: np.ndarray) -> np.ndarray:
    """Return the HU at positions, (N,), linear between voxels."""
    from scipy.ndimage import map_coordinates

    index = np.linalg.inv(head.volume.affine) @ np.column_stack((mm @ LPS_RAS, np.ones(len(mm)))).T
    return map_coordinates(head.volume.array.astype(float), index[2::-1], order=1, mode="nearest")


def test_head_ct_facts(head: DicomVolume) -> None:
    assert head.facts["slices"] == 28
    assert head.facts["tilt_degrees"] == pytest.approx(18.5, abs=0.01)  # as GantryDetectorTilt says
    assert head.facts["gaps_mm"] == {"min": 1.0811, "median": 4.0019, "max": 6.9986}  # 4.22 and 7.38 mm on the table
    assert head.facts["resampled_for"] == ["gantry-tilt", "uneven-slices"]
    assert head.volume.warnings == ()
    assert head.volume.array.shape == (37, 612, 512)
    assert head.volume.spacing_mm == pytest.approx((4.0025, 0.4883, 0.4883), abs=1e-4)


@pytest.mark.parametrize("number", [0, 4, 9, 13, 14, 18, 23, 27])
def test_head_ct_slices_lie_where_their_headers_say(head: DicomVolume, number: int) -> None:
    """Each slice, placed by ITK's reading of its single file, fits the volume best when it is not moved."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(head.slices[number].path))
    pixels = sitk.GetArrayFromImage(image)[0].astype(float)
    tissue = np.argwhere((pixels > -200) & (pixels < 1500))
    chosen = tissue[np.random.default_rng(number).choice(len(tissue), 4000)]
    mm = np.array([image.TransformIndexToPhysicalPoint((int(x), int(y), 0)) for y, x in chosen])
    axes = np.array(image.GetDirection()).reshape(3, 3)
    half_a_voxel_mm = np.array(head.volume.spacing_mm[::-1]) / 2
    for axis, half in enumerate(half_a_voxel_mm):
        shifts = np.arange(-4, 5) * half
        inside = slice(4 if number == 0 and axis == 2 else 0, 5 if number == 27 and axis == 2 else None)
        errors = [np.abs(at_lps(head, mm + shift * axes[:, axis]) - pixels[tuple(chosen.T)]).mean() for shift in shifts]
        best = shifts[inside][int(np.argmin(errors[inside]))]
        assert abs(best) <= half, (axis, shifts, errors)


def test_head_ct_hounsfield_units(head: DicomVolume) -> None:
    array = head.volume.array
    cube = np.stack(np.meshgrid(*[np.linspace(-2, 2, 5)] * 3), -1).reshape(-1, 3)
    for ventricle in ([-22.0, -16.6, 62.9], [-12.7, -7.7, 55.7]):  # LPS
        assert 0 < at_lps(head, cube + ventricle).mean() < 15
    assert 25 < np.median(array[26:29, 240:420, 160:350]) < 45  # both hemispheres above the ventricles
    skull = array[20:24][array[20:24] > 300]
    assert np.median(skull) > 700
    assert array.min() >= -1024
    assert array[:, 0, 0].tolist() == [-1000] * len(array)  # outside of the scanner's circle


def test_head_ct_survives_its_nifti_file(head: DicomVolume, tmp_path: Path) -> None:
    path = tmp_path / "head.nii.gz"
    write_volume(head.volume, path)
    volume = read_image(path)
    np.testing.assert_array_equal(volume.array, head.volume.array)
    np.testing.assert_allclose(volume.corners_mm(), head.volume.corners_mm(), atol=1e-3)
    assert volume.warnings == ()
