import numpy as np
import pytest

from nnunet_multitask.inference.aggregation import AGGREGATIONS, lesion, maximum, mean, noisy_or

TILES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])


def test_mean_by_hand():
    assert mean(TILES, np.array([100.0, 0, 0])).tolist() == pytest.approx([0.5, 0.5])


def test_lesion_by_hand():
    # weights 99 + 1, 0 + 1, 0 + 1
    assert lesion(TILES, np.array([99.0, 0, 0])).tolist() == pytest.approx([90.6 / 102, 11.4 / 102])


def test_lesion_is_the_mean_where_nothing_was_found():
    assert lesion(TILES, np.zeros(3)).tolist() == pytest.approx(mean(TILES, np.zeros(3)).tolist())


def test_maximum_and_noisy_or_by_hand():
    assert maximum(TILES, np.zeros(3)).tolist() == [0.9, 0.8]
    assert noisy_or(TILES, np.zeros(3)).tolist() == pytest.approx([1 - 0.1 * 0.8 * 0.6, 1 - 0.9 * 0.2 * 0.4])


@pytest.mark.parametrize("aggregate", AGGREGATIONS.values())
def test_one_tile_stays_and_order_does_not_matter(aggregate):
    voxels = np.array([5.0, 0.0, 17.0])
    assert aggregate(TILES[:1], voxels[:1]).tolist() == pytest.approx(TILES[0].tolist())
    assert aggregate(TILES[::-1], voxels[::-1]).tolist() == pytest.approx(aggregate(TILES, voxels).tolist())
