import numpy as np
import pytest

from nnunet_multitask.inference.aggregation import (
    AGGREGATIONS,
    TileWeights,
    aggregate,
    gaussian,
    lesion,
    maximum,
    mean,
    noisy_or,
    topk,
)
from nnunet_multitask.labels import Target

TILES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
KINDS = Target("subtype", "multiclass", ("IPH", "IVH"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH"))


def weights(foreground=(0.0, 0, 0), importance=(1.0, 1, 1), top_tiles=4):
    return TileWeights(np.array(foreground), np.array(importance), top_tiles)


def test_mean_by_hand():
    assert mean(TILES, weights((100.0, 0, 0))).tolist() == pytest.approx([0.5, 0.5])


def test_gaussian_by_hand():
    found = gaussian(TILES, weights(importance=(6.0, 3, 1)))
    assert found.tolist() == pytest.approx([(5.4 + 0.6 + 0.4) / 10, (0.6 + 2.4 + 0.6) / 10])


def test_lesion_by_hand():
    # weights 99 + 1, 0 + 1, 0 + 1
    assert lesion(TILES, weights((99.0, 0, 0))).tolist() == pytest.approx([90.6 / 102, 11.4 / 102])


def test_lesion_is_the_mean_where_nothing_was_found():
    assert lesion(TILES, weights()).tolist() == pytest.approx(mean(TILES, weights()).tolist())


def test_maximum_and_noisy_or_by_hand():
    assert maximum(TILES, weights()).tolist() == [0.9, 0.8]
    assert noisy_or(TILES, weights()).tolist() == pytest.approx([1 - 0.1 * 0.8 * 0.6, 1 - 0.9 * 0.2 * 0.4])


def test_topk_by_hand():
    assert topk(TILES, weights(top_tiles=2)).tolist() == pytest.approx([0.65, 0.7])
    assert topk(TILES, weights(top_tiles=1)).tolist() == maximum(TILES, weights()).tolist()
    assert topk(TILES, weights(top_tiles=9)).tolist() == pytest.approx(mean(TILES, weights()).tolist())


def test_exclusive_classes_sum_to_one():
    assert aggregate("max", KINDS, TILES, weights()).tolist() == pytest.approx([0.9 / 1.7, 0.8 / 1.7])
    assert aggregate("max", FINDINGS, TILES, weights()).tolist() == [0.9, 0.8]
    assert aggregate("mean", KINDS, TILES, weights()).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_one_tile_stays_and_order_does_not_matter(name):
    given = weights((5.0, 0.0, 17.0), (2.0, 3.0, 4.0), top_tiles=2)
    backwards = weights((17.0, 0.0, 5.0), (4.0, 3.0, 2.0), top_tiles=2)
    first = given.select(np.array([True, False, False]))
    assert aggregate(name, FINDINGS, TILES[:1], first).tolist() == pytest.approx(TILES[0].tolist())
    assert aggregate(name, FINDINGS, TILES[::-1], backwards).tolist() == pytest.approx(
        aggregate(name, FINDINGS, TILES, given).tolist()
    )
