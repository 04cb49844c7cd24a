"""The nearest of some voxels: every way against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from nnunet_multitask.evaluation import nearest
from nnunet_multitask.evaluation.nearest import nearest_distances


def scattered(seed: int, axes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sets of voxels in C order, (D, N) and (D, M), and a spacing."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 30 if axes < 4 else 9, axes)
    first, second = (np.array(np.nonzero(rng.random(shape) < rng.uniform(0.01, 0.3))) for _ in range(2))
    ends = np.stack((np.zeros(axes, dtype=int), shape - 1), axis=1)
    return (
        first if first.size else ends[:, :1],
        second if second.size else ends[:, 1:],
        rng.choice([0.45, 0.625, 1.0, 3.0, 5.0], axes),
    )


def all_pairs(queries: np.ndarray, points: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    return cdist(queries.T * spacing, points.T * spacing).min(axis=1)


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_distances_are_those_of_all_pairs(axes: int, seed: int) -> None:
    queries, points, spacing = scattered(seed, axes)
    np.testing.assert_allclose(nearest_distances(queries, points, spacing), all_pairs(queries, points, spacing))


@pytest.mark.parametrize("seed", range(20))
def test_rows_tree_and_volume_agree_to_the_last_bit(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    queries, points, spacing = scattered(seed)
    monkeypatch.setattr(nearest, "LOOKUPS_PER_TREE_QUERY", 10**9)  # never gives the search of rows up
    monkeypatch.setattr(nearest, "_search_tree", lambda *_: pytest.fail("expected rows alone"))
    by_rows = nearest_distances(queries, points, spacing)
    monkeypatch.undo()
    monkeypatch.setattr(nearest, "LOOKUPS_PER_TREE_QUERY", 0)
    monkeypatch.setattr(nearest, "LOOKUPS_PER_TREE_POINT", 0)
    monkeypatch.setattr(nearest, "POINTS_PER_VOXEL", 10**9)
    np.testing.assert_array_equal(nearest_distances(queries, points, spacing), by_rows)
    monkeypatch.setattr(nearest, "POINTS_PER_VOXEL", 0)
    monkeypatch.setattr(nearest, "_search_tree", lambda *_: pytest.fail("expected the volume"))
    np.testing.assert_array_equal(nearest_distances(queries, points, spacing), by_rows)


def test_what_is_far_from_everything_is_asked_of_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    near = np.array(np.nonzero(np.ones((4, 10, 10), dtype=bool)))
    far = near[:, ::20] + np.array([[0], [400], [3]])
    queries = np.concatenate((near, far), axis=1)
    asked: list[int] = []
    search_tree = nearest._search_tree

    def counted(queries: np.ndarray, *args: np.ndarray) -> np.ndarray:
        asked.append(queries.shape[1])
        return search_tree(queries, *args)

    monkeypatch.setattr(nearest, "_search_tree", counted)
    found = nearest_distances(queries, near, np.array([5.0, 0.5, 0.5]))
    assert asked == [20]
    assert (found[:400] == 0).all()
    np.testing.assert_allclose(found[400:], all_pairs(far, near, np.array([5.0, 0.5, 0.5])))


def test_points_all_around_and_far_away_are_found() -> None:
    shell = np.ones((61, 71, 81), dtype=bool)
    shell[1:-1, 1:-1, 1:-1] = False
    points, queries = np.array(np.nonzero(shell)), np.array([[30, 30], [35, 36], [40, 40]])
    assert nearest_distances(queries, points, np.array([1.0, 1.0, 1.0])).tolist() == [30.0, 30.0]
    found = nearest_distances(points, queries, np.array([1.0, 1.0, 1.0]))  # most of them far: by the volume
    np.testing.assert_allclose(found, all_pairs(points, queries, np.ones(3)))


def test_points_at_the_corners_of_a_box_of_queries() -> None:
    """Some queries are near, some points are near, and no pair is."""
    queries = np.array([[0, 90], [0, 90], [0, 90]])
    points = np.array([[0, 90], [90, 0], [45, 45]])
    found = nearest_distances(queries, points, np.array([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, all_pairs(queries, points, np.ones(3)))


def test_a_row_wider_than_small_integers_count() -> None:
    queries, points = np.array([[0, 0], [0, 69_999]]), np.array([[0, 0], [10, 65_000]])
    assert nearest_distances(queries, points, np.array([1.0, 1.0])).tolist() == [10.0, 4999.0]
    for width in (63, 64, 65, 16_383, 16_384, 16_385):  # where a type of the table ends
        queries, points = np.array([[0, 0], [0, width - 1]]), np.array([[0], [0]])
        assert nearest_distances(queries, points, np.array([1.0, 1.0])).tolist() == [0.0, width - 1.0]
