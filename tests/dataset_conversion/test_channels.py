"""Windows, skull stripping and the mirrored channel: values by hand, and nnU-Net's own reading of the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nnunet_multitask.dataset_conversion.channels import (
    WINDOWS,
    ChannelOptions,
    Window,
    apply_window,
    channel_names,
    check_options,
    describe_channels,
    make_channels,
    mirror,
    parse_window,
    parse_windows,
    patient_axes,
)
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume


def volume(array: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None) -> Volume:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return Volume(array, (float(z), float(y), float(x)), affine, Path("a.nii.gz"))


def test_window_by_hand() -> None:
    hu = np.array([[[-1000, 0, 20, 40, 80, 3000]]], np.int16)
    channel = apply_window(volume(hu), WINDOWS["brain"])
    assert channel.array.dtype == np.uint8
    np.testing.assert_array_equal(channel.array, [[[0, 0, 64, 128, 255, 255]]])  # 20/80 * 255 = 63.75
    assert channel.changed
    assert hu[0, 0, 1] == 0  # the input stays


def test_whole_units_stay_apart_in_windows_of_at_most_255() -> None:
    for window in WINDOWS.values():
        lower, upper = window.centre_hu - window.width_hu / 2, window.centre_hu + window.width_hu / 2
        hu = np.arange(np.ceil(lower), np.floor(upper) + 1, dtype=np.float64)[None, None]
        levels = apply_window(volume(hu), window).array.astype(int)
        assert np.abs(levels / 255 - (hu - lower) / window.width_hu).max() <= 0.5 / 255 + 1e-6, window
        assert (np.diff(levels) > 0).all() == (window.width_hu <= 255), window


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("bone", Window("bone", 600, 2800)),
        ("liver=60/160", Window("liver", 60, 160)),
        ("low=-12.5/7", Window("low", -12.5, 7)),
    ],
)
def test_windows_are_parsed(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["brian"], r"\[unknown-window\] --windows: expected brain, subdural, .*, got 'brian' -> did you mean brain\?"),
        (["Brain"], r"did you mean brain\? Another window is written NAME=CENTRE/WIDTH"),
        (["a=40"], r"\[bad-window\] --windows: expected NAME=CENTRE/WIDTH .* got 'a=40'"),
        (["a=40/0"], r"\[bad-window\]"),
        (["a=40/-80"], r"\[bad-window\]"),
        (["a=nan/80"], r"\[bad-window\]"),
        (["a=1/2/3"], r"\[bad-window\]"),
        (["=40/80"], r"\[bad-window\]"),
        (["brain", "brain=40/120"], r"\[duplicate-window\] --windows: expected each window once, got brain twice"),
    ],
)
def test_windows_that_are_none(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_windows(texts)
    with pytest.raises(InputError, match=message):
        check_options(ChannelOptions(windows=tuple(texts)), ["CT"])


@pytest.mark.parametrize(
    ("options", "names", "is_hu", "message"),
    [
        (ChannelOptions(windows=("brain",)), ["MR"], True, r"--windows: expected a CT .*, got the channels MR"),
        (ChannelOptions(skull_strip=True), ["CT", "PET"], True, r"--skull-strip: expected .* got the channels CT, PET"),
        (
            ChannelOptions(windows=("brain",), skull_strip=True),
            ["CT"],
            False,
            r"\[no-hounsfield\] --windows and --skull-strip: .* got intensities that are none",
        ),
    ],
)
def test_windows_need_hounsfield_units(options: ChannelOptions, names: list[str], is_hu: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(options, names, is_hu)


def test_mirroring_needs_no_hounsfield_units() -> None:
    check_options(ChannelOptions(mirror_channel=True), ["T1", "T2"], intensities_are_hu=False)
    check_options(ChannelOptions(), ["T1"], intensities_are_hu=False)
    check_options(ChannelOptions(windows=("brain",), skull_strip=True), ["ct"])


@pytest.mark.parametrize(
    ("affine", "axis"),
    [
        (np.diag([-1.0, -1.0, 1.0, 1.0]), 2),  # LPS
        (np.diag([-1.0, 1.0, 1.0, 1.0]), 2),  # LAS
        (np.array([[0, 0, 5.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]), 0),  # sagittal slices
        (np.array([[0.0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]), 1),  # x and y exchanged
    ],
)
def test_mirror_flips_the_left_right_axis(affine: npt.NDArray[np.float64], axis: int) -> None:
    image = volume(np.arange(24).reshape(2, 3, 4), affine)
    flipped = mirror(image)
    np.testing.assert_array_equal(flipped.array, np.flip(image.array, axis))
    np.testing.assert_array_equal(flipped.affine, affine)
    assert patient_axes(image)[2] == axis


def test_axes_of_an_oblique_image() -> None:
    for degrees in (0, 20, 44, 46, 70):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        affine = np.array([[-1, 0, 0, 0], [0, -c, -s, 0], [0, -s, c, 0], [0, 0, 0, 1]]) * 0.5
        axes = patient_axes(volume(np.zeros((2, 3, 4)), affine))
        assert axes == ((0, 1, 2) if degrees < 45 else (1, 0, 2)), degrees


def test_channels_and_their_names_agree() -> None:
    image = volume(np.arange(-12, 12, dtype=np.int16).reshape(2, 3, 4) * 10)
    both = ChannelOptions(windows=("brain", "bone"), mirror_channel=True)
    channels = make_channels(image, both)
    assert channel_names(both) == ["rgb_to_0_1"] * 4
    brain, bone = apply_window(image, WINDOWS["brain"]), apply_window(image, WINDOWS["bone"])
    for channel, expected in zip(channels, (brain, bone, mirror(brain), mirror(bone)), strict=True):
        np.testing.assert_array_equal(channel.array, expected.array)
    assert describe_channels(both) == [
        "brain: 40/80 HU",
        "bone: 600/2800 HU",
        "brain: 40/80 HU, mirrored left-right",
        "bone: 600/2800 HU, mirrored left-right",
    ]
    assert channel_names(ChannelOptions(mirror_channel=True), "T1") == ["T1", "T1"]
    plain = ChannelOptions()
    assert make_channels(image, plain) == (image,)
    assert channel_names(plain, "T1") == describe_channels(plain, "T1") == ["T1"]
    assert not plain.changes_images
    assert both.changes_images


def test_nnunet_divides_windows_by_255_and_does_nothing_else() -> None:
    scheme = pytest.importorskip("nnunetv2.preprocessing.normalization.map_channel_name_to_normalization")
    image = volume(np.linspace(-100, 200, 60).astype(np.int16).reshape(3, 4, 5))
    options = ChannelOptions(windows=("brain",))
    (channel,) = make_channels(image, options)
    normalization = scheme.get_normalization_scheme(channel_names(options)[0])(False, {})
    expected = np.clip(image.array / 80, 0, 1)
    np.testing.assert_allclose(normalization.run(channel.array), expected, atol=0.5 / 255 + 1e-6)
    with pytest.raises(AssertionError, match="smaller than 0"):
        normalization.run(image.array)  # Hounsfield units at prediction
