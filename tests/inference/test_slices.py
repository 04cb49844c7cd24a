"""Tiles in the voxels of the image, by hand: transposed, cropped and resampled volumes are led back."""

import numpy as np
import pytest

from nnunet_multitask.inference.aggregation import TileWeights
from nnunet_multitask.inference.reporting import Reporting
from nnunet_multitask.inference.slices import image_boxes, slice_values
from nnunet_multitask.inference.tiles import CaseTiles, FoldTiles
from nnunet_multitask.labels import Target

TARGET = Target("ich", "binary", ("no", "yes"))


def tiles_of(boxes, shape, *folds):
    weights = TileWeights(np.zeros(len(boxes)), np.ones(len(boxes)))
    probabilities = [np.array(values, dtype=float)[:, None, None] for values in folds]  # (T, 1 mirroring, 1 output)
    return CaseTiles(np.array(boxes), shape, [FoldTiles({"ich": values}, weights) for values in probabilities])


def test_boxes_are_led_back_to_the_image():
    tiles = tiles_of([[[0, 2], [1, 5], [0, 4]]], (4, 8, 4), [0.5])
    properties = {
        # axes as the network sees them, here (x, z, y): 4 x 8 x 4 voxels were 8 x 4 x 4, behind 10, 3 and 0 others
        "shape_after_cropping_and_before_resampling": (8, 4, 4),
        "bbox_used_for_cropping": [[10, 18], [3, 7], [0, 4]],
    }
    (box,) = image_boxes(tiles, properties, [1, 2, 0])  # the image's z is the second of them, y the third, x the first
    assert box.tolist() == [[3.5, 5.5], [0, 4], [10, 14]]


def test_slices_take_the_tiles_that_hold_their_centre():
    tiles = tiles_of([[[0, 1]] * 3, [[0, 1]] * 3], (1, 1, 1), [0.2, 0.6], [0.4, 0.8])
    boxes = np.array([[[1.0, 3.0]] * 3, [[2.0, 3.6]] * 3])
    reporting = Reporting({"ich": TARGET}, aggregations={"ich": "max"})
    found = slice_values(reporting, tiles, boxes, 5)["ich"]
    # folds: 0.2 and 0.4 in the first tile, 0.6 and 0.8 in the second
    assert [None if entry is None else entry["yes"] for entry in found] == [
        None, pytest.approx(0.3), pytest.approx(0.7), pytest.approx(0.7), None,
    ]  # fmt: skip
