"""Stored values to Hounsfield units, whatever their sign, width, compression and padding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.dicom_pixels import read_slice
from nnunet_multitask.errors import InputError

Write = Callable[..., Path]

HU = np.array([[-1000, -1000, -1000, -1000], [-1000, 0, 40, -1000], [-1000, 1500, 70, -1000]], np.int16)


def test_signed_values_as_they_are(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(tmp_path / "a", HU)
    pixels = read_slice(path)
    assert pixels.array.dtype == np.int16
    np.testing.assert_array_equal(pixels.array, HU)
    assert pixels.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (pixels.outside_pixels, pixels.sign_repaired, pixels.clipped_pixels) == (0, False, 0)


@pytest.mark.parametrize("compression", [None, "RLE", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("stored", [HU, (HU + 1024).astype(np.uint16)], ids=["signed", "unsigned"])
def test_slope_and_intercept_whatever_the_compression(
    tmp_path: Path, write_dicom: Write, compression: str | None, stored: np.ndarray
) -> None:
    large = np.kron(stored, np.ones((8, 8), stored.dtype)).astype(stored.dtype)
    path = write_dicom(tmp_path / "a", large, compression=compression, RescaleSlope="0.5", RescaleIntercept="-12")
    pixels = read_slice(path)
    expected = np.rint(large * 0.5 - 12).astype(np.int16)
    expected[expected < -1024] = -1000
    np.testing.assert_array_equal(pixels.array, expected)
    assert (pixels.slope, pixels.intercept) == (0.5, -12)


@pytest.mark.parametrize("form", [{"implicit": True}, {"big_endian": True}, {"preamble": False, "implicit": True}])
def test_other_encodings(tmp_path: Path, write_dicom: Write, form: dict) -> None:
    np.testing.assert_array_equal(read_slice(write_dicom(tmp_path / "a", HU, **form)).array, HU)


def test_eight_bits_and_missing_rescale(tmp_path: Path, write_dicom: Write) -> None:
    array = np.array([[0, 255], [7, 128]], np.uint8)
    pixels = read_slice(write_dicom(tmp_path / "a", array, RescaleSlope=None, RescaleIntercept=None))
    np.testing.assert_array_equal(pixels.array, array)


def test_bits_beyond_those_stored_are_cut(tmp_path: Path, write_dicom: Write) -> None:
    stored = (HU + 1024).astype(np.uint16) | np.uint16(0xF000)  # an overlay in the upper four bits
    bits = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": "-1024"}
    np.testing.assert_array_equal(read_slice(write_dicom(tmp_path / "a", stored, **bits)).array, HU)
    shifted = ((HU + 1024).astype(np.uint16)) << 4
    bits = {"BitsStored": 12, "HighBit": 15, "RescaleIntercept": "-1024"}
    np.testing.assert_array_equal(read_slice(write_dicom(tmp_path / "b", shifted, **bits)).array, HU)


def test_twelve_signed_bits(tmp_path: Path, write_dicom: Write) -> None:
    stored = (HU & 0x0FFF).astype(np.int16)  # the sign is in bit 11
    path = write_dicom(tmp_path / "a", stored, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_slice(path).array, HU)


@pytest.mark.parametrize(
    ("array", "attributes"),
    [
        (np.array([[-2000, 5]], np.int16), {"PixelPaddingValue": -2000}),
        (np.array([[-500, 5]], np.int16), {"PixelPaddingValue": -500}),  # a possible value of tissue, but padding
        (np.array([[63536, 5]], np.uint16), {"PixelPaddingValue": 63536}),
        (np.array([[-700, 5]], np.int16), {"PixelPaddingValue": -800, "PixelPaddingRangeLimit": -600}),
        (np.array([[-2000, 5]], np.int16), {}),  # nobody said so, but below -1024 HU is nothing
    ],
)
def test_padding_becomes_air(tmp_path: Path, write_dicom: Write, array: np.ndarray, attributes: dict) -> None:
    pixels = read_slice(write_dicom(tmp_path / "a", array, **attributes))
    np.testing.assert_array_equal(pixels.array, [[-1000, 5]])
    assert pixels.outside_pixels == 1


def test_padding_given_with_the_other_sign(tmp_path: Path, write_dicom: Write) -> None:
    import pydicom

    path = write_dicom(tmp_path / "a", np.array([[-2000, 5]], np.int16), PixelPaddingValue=-2000)
    dataset = pydicom.dcmread(path)
    dataset["PixelPaddingValue"].VR = "US"
    dataset["PixelPaddingValue"].value = 63536
    dataset.save_as(path)
    np.testing.assert_array_equal(read_slice(path).array, [[-1000, 5]])


def test_signed_pixels_declared_as_unsigned(tmp_path: Path, write_dicom: Write) -> None:
    stored = (HU & 0x0FFF).astype(np.uint16)  # -1000 stands as 3096
    bits = {"BitsStored": 12, "HighBit": 11}
    pixels = read_slice(write_dicom(tmp_path / "a", stored, **bits))
    np.testing.assert_array_equal(pixels.array, HU)
    assert pixels.sign_repaired
    with_offset = write_dicom(tmp_path / "b", stored, **bits, RescaleIntercept="-1024")
    assert not read_slice(with_offset).sign_repaired
    np.testing.assert_array_equal(read_slice(with_offset).array[1, 1:3], [-1024, 40 - 1024])


def test_bright_border_alone_is_no_wrong_sign(tmp_path: Path, write_dicom: Write) -> None:
    stored = np.full((4, 4), 1500, np.uint16)
    pixels = read_slice(write_dicom(tmp_path / "a", stored, BitsStored=12, HighBit=11))
    assert not pixels.sign_repaired
    assert (pixels.array == 1500).all()


def test_metal_beyond_sixteen_bits_is_clipped(tmp_path: Path, write_dicom: Write) -> None:
    pixels = read_slice(write_dicom(tmp_path / "a", np.array([[-1000, 30000]], np.int16), RescaleSlope="2"))
    np.testing.assert_array_equal(pixels.array, [[-1000, 32767]])
    assert (pixels.clipped_pixels, pixels.outside_pixels) == (1, 1)


def test_other_modalities_keep_their_values(tmp_path: Path, write_dicom: Write) -> None:
    array = np.array([[-3000, 7, 9]], np.int16)
    pixels = read_slice(write_dicom(tmp_path / "a", array, RescaleSlope="0.5", PixelPaddingValue=9), "MR")
    assert pixels.array.dtype == np.float32
    np.testing.assert_array_equal(pixels.array, [[-1500, 3.5, 0]])
    assert read_slice(write_dicom(tmp_path / "b", array), "MR").array.dtype == np.int32


def test_pixels_cut_short(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(tmp_path / "a", HU)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"\[truncated-dicom\] .*expected 24 bytes of pixels, .* ends after 2[0-9]"):
        read_slice(path)


@pytest.mark.parametrize("compression", ["JPEG", "JPEG2000"])
def test_compressed_pixels_cut_short_or_damaged(tmp_path: Path, write_dicom: Write, compression: str) -> None:
    large = np.random.default_rng(0).integers(-1000, 1000, (32, 32)).astype(np.int16)
    path = write_dicom(tmp_path / "a", large, compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[:-300])
    with pytest.raises(InputError, match=r"\[(truncated|bad)-dicom\]"):
        read_slice(path)
    start = content.index(b"\xff\xd8\xff" if compression == "JPEG" else b"\xff\x4f\xff")
    path.write_bytes(content[:start] + b"\0" * 40 + content[start + 40 :])
    with pytest.raises(InputError, match=r"\[bad-dicom\] .*expected pixels that can be decoded"):
        read_slice(path)


@pytest.mark.parametrize("slope", ["0", "1e400"])
def test_impossible_slope(tmp_path: Path, write_dicom: Write, slope: str) -> None:
    with pytest.raises(InputError, match=r"\[bad-rescale\]"):
        read_slice(write_dicom(tmp_path / "a", HU, RescaleSlope=slope))


def test_table_in_place_of_slope_and_intercept(tmp_path: Path, write_dicom: Write) -> None:
    import pydicom

    path = write_dicom(tmp_path / "a", HU, ModalityLUTSequence=[pydicom.Dataset()])
    with pytest.raises(InputError, match=r"\[bad-rescale\] .*got a table of values"):
        read_slice(path)
