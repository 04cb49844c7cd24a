"""Pictures of maps: which slices, what is drawn of a map that is 0 everywhere, windows."""

import io

import numpy as np
import pytest
from nifti_files import save_nifti
from PIL import Image

from nnunet_multitask.explanation.montage import Scan, chosen_slices, draw_montage, scan_of, strips_of
from nnunet_multitask.files import read_image


def scan(depth=9, spacing=5.0, prediction=None):
    grey = np.random.default_rng(0).normal(40, 10, (12, 10, depth))
    return Scan(grey, (1.0, 1.0, spacing), (0.0, 80.0), prediction, None)


def heap(*slices, depth=9):
    values = np.zeros((12, 10, depth), np.float32)
    for number, mass in slices:
        values[3:5, 3:5, number] = mass
    return values


def test_slices_with_most_mass_apart_and_in_order():
    values = heap((7, 9.0), (6, 8.0), (2, 5.0), (4, 3.0), (0, 1.0))
    assert chosen_slices([values], scan()) == [2, 4, 7]  # 6 is 5 mm from 7, and shows the same
    assert chosen_slices([values], scan(spacing=10.0)) == [2, 6, 7]


def test_maps_count_alike_however_large_they_are():
    small, large = heap((1, 1e-6)), heap((3, 50.0), (5, 50.0), (7, 50.0), (8, 49.0))
    assert 1 in chosen_slices([small, large], scan())


def test_without_mass_it_is_the_mask_or_the_middle():
    mask = np.zeros((12, 10, 9), bool)
    assert chosen_slices([heap()], scan(prediction=mask)) == [4]
    mask[2:4, 2, 6] = True
    assert chosen_slices([heap()], scan(prediction=mask)) == [6]


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


def test_a_map_shows_and_one_of_zeros_says_so():
    mask = heap((4, 1.0)) > 0
    shown = scan(prediction=mask)
    hot, cold = ({"stage 0": values} for values in (heap((4, 2e-7)), heap()))
    (strip,), (empty,) = (strips_of("ich: yes", shown, maps, [4]) for maps in (hot, cold))
    assert list(strip.heats) == ["stage 0, max 2e-07"]
    assert strip.heats["stage 0, max 2e-07"].max() == 1
    assert empty.heats == {"stage 0, 0 everywhere": None}
    (with_map, without) = (pixels(draw_montage("a", [each])) for each in (strip, empty))
    width = with_map.shape[1] // 2
    assert np.array_equal(with_map[60:-80, :width], without[60:-80, :width])  # the slice as it is
    assert (np.abs(with_map - without)[60:-80, width:].sum(axis=2) > 60).sum() > 100


def test_ct_has_the_brain_window_and_other_images_percentiles(tmp_path):
    image = read_image(save_nifti(tmp_path / "a.nii.gz", np.arange(60, dtype=np.int16).reshape(4, 5, 3)))
    assert scan_of(image, None, None, is_ct=True).window == (0.0, 80.0)
    other = scan_of(image, np.ones((3, 5, 4)), None, is_ct=False)
    (strip,) = strips_of("x", other, {}, [1])
    assert strip.window == pytest.approx(tuple(np.percentile(image.array[1], (1, 99))))
    assert list(strip.masks) == ["prediction"]
