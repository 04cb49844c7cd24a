"""Lesions as runs, against scipy's labelled volumes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from nnunet_multitask.evaluation.components import Lesions, find_lesions, shared_voxels


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(tuple(rng.integers(1, 10, 3))) < rng.uniform(0, 0.6)


def labelled(lesions: Lesions) -> np.ndarray:
    """The volume of labels that scipy makes: 1 for the first lesion."""
    volume = np.zeros(lesions.shape, dtype=int)
    for lesion, z, y, start, stop in zip(
        lesions.of_run, lesions.z, lesions.y, lesions.start, lesions.stop, strict=True
    ):
        volume[z, y, start:stop] = lesion + 1
    return volume


@pytest.mark.parametrize("block", range(4))
def test_lesions_are_scipys_components_in_the_same_order(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        mask = random_mask(seed)
        expected, count = label(mask, np.ones((3, 3, 3)))
        lesions = find_lesions(mask)
        assert lesions.count == count, seed
        np.testing.assert_array_equal(labelled(lesions), expected)
        np.testing.assert_array_equal(lesions.voxels, np.bincount(expected.ravel(), minlength=count + 1)[1:])


def test_faces_edges_and_corners_connect_and_the_ends_of_rows_do_not() -> None:
    mask = np.zeros((2, 2, 4), dtype=bool)
    mask[0, 0, 3] = mask[0, 1, 0] = True  # neighbours in memory only
    assert find_lesions(mask).count == 2
    corner = np.zeros((2, 2, 2), dtype=bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert find_lesions(corner).count == 1
    assert find_lesions(np.ones((3, 4, 5), dtype=bool)).voxels.tolist() == [60]
    assert find_lesions(np.zeros((3, 4, 5), dtype=bool)).count == 0


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_changes_nothing(order: str) -> None:
    mask = np.array(random_mask(3), order=order)
    np.testing.assert_array_equal(labelled(find_lesions(mask)), label(mask, np.ones((3, 3, 3)))[0])


def test_shared_voxels_are_those_with_both_labels() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(1, 10, 3))
        masks = [rng.random(shape) < rng.uniform(0, 0.6) for _ in range(2)]
        lesions = [find_lesions(mask) for mask in masks]
        both = masks[0] & masks[1]
        pairs = np.stack([labelled(found)[both] - 1 for found in lesions])
        expected, counts = np.unique(pairs, axis=1, return_counts=True)
        first, second, shared = shared_voxels(*lesions)
        np.testing.assert_array_equal(np.stack((first, second)), expected)
        np.testing.assert_array_equal(shared, counts)
