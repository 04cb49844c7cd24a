"""Boxes around masks."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_multitask.boxes import bounding_box, union_box


@pytest.mark.parametrize("order", ["C", "F"])
def test_union_box(order: str) -> None:
    first, second = np.zeros((4, 6, 8), dtype=bool, order=order), np.zeros((4, 6, 8), dtype=bool, order=order)
    assert union_box(first, second) is None
    first[1, 2, 3] = True
    assert union_box(first, second) == (slice(1, 2), slice(2, 3), slice(3, 4))
    second[3, 0, 7] = True
    assert union_box(first, second) == (slice(1, 4), slice(0, 3), slice(3, 8))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("seed", range(5))
def test_bounding_box_is_the_range_of_the_indices(dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = (rng.random(rng.integers(1, 9, 3)) > 0.97).astype(dtype)
    for view in (array, array.T, array[::-1, :, ::2]):
        positions = np.argwhere(view)
        if len(positions):
            low, high = positions.min(axis=0), positions.max(axis=0) + 1
            assert bounding_box(view) == tuple(slice(*edges) for edges in zip(low, high, strict=True))
        else:
            assert bounding_box(view) is None


def test_an_array_without_voxels_has_no_box() -> None:
    assert bounding_box(np.zeros((0, 3), dtype=bool)) is None
    assert bounding_box(np.zeros((3, 0), dtype=bool)) is None
