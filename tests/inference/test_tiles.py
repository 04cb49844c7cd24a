"""Where tiles lie, and what each contributes to nnU-Net's segmentation."""

import itertools

import numpy as np
import pytest
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from nnunet_multitask.inference.tiles import tile_boxes, tile_importance


class Configuration:
    def __init__(self, patch_size):
        self.patch_size = patch_size


def window(shape, patch_size):
    """Return nnU-Net's tiles of a volume, the shape after padding, and a map of the voxels of the image there."""
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.configuration_manager = Configuration(patch_size)
    padded = pad_nd_image(torch.ones(1, *shape), patch_size, "constant", {"value": 0}, False, None)
    return predictor._internal_get_sliding_window_slicers(padded.shape[1:]), tuple(padded.shape[1:]), padded[0].numpy()


@pytest.mark.parametrize(
    ("shape", "patch_size"), [((9, 14, 7), (4, 6, 8)), ((3, 5, 12), (8, 8, 8)), ((3, 11, 6), (8, 8))]
)
def test_importance_is_the_share_in_the_blended_segmentation(shape, patch_size):
    slicers, padded, image = window(shape, patch_size)
    importance = compute_gaussian.__wrapped__(patch_size, dtype=torch.float64, device=torch.device("cpu")).numpy()
    total = np.zeros(padded)
    for slicer in slicers:
        total[slicer[1:]] += importance
    expected = [float((importance / total[slicer[1:]] * image[slicer[1:]]).sum()) for slicer in slicers]
    found = tile_importance(slicers, shape, padded)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found.sum() == pytest.approx(np.prod(shape))


def test_boxes_are_the_part_of_the_tiles_inside_the_image():
    slicers, padded, _ = window((2, 6, 5), (4, 4, 4))  # two slices and one column of padding are no image
    assert padded == (4, 6, 5)
    boxes = tile_boxes(slicers, (2, 6, 5), padded)
    spans = [[[0, 2]], [[0, 4], [2, 6]], [[0, 4], [1, 5]]]
    assert boxes.tolist() == [list(box) for box in itertools.product(*spans)]


def test_a_tile_of_a_2d_model_is_a_slice_thick():
    slicers, padded, _ = window((2, 5, 4), (4, 4))
    boxes = tile_boxes(slicers, (2, 5, 4), padded)
    assert boxes.tolist() == [
        [[0, 1], [0, 4], [0, 4]],
        [[0, 1], [1, 5], [0, 4]],
        [[1, 2], [0, 4], [0, 4]],
        [[1, 2], [1, 5], [0, 4]],
    ]
