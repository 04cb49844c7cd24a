"""Digests of voxels: equal for equal values, whatever type and order in memory hold them."""

from __future__ import annotations

import numpy as np

from nnunet_multitask.dataset_conversion.voxel_digest import voxel_digest


def test_only_values_and_shape_count() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    digest = voxel_digest(array)
    for same in (array.astype(np.float64), array.astype(">i4"), np.asfortranarray(array)):
        assert voxel_digest(same) == digest
    for other in (array + 1, array.reshape(3, 2, 4), np.flip(array, 2)):
        assert voxel_digest(other) != digest
