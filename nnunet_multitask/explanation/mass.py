"""Numbers that say what a map is about: how much of it lies inside a mask, and how like another map it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

MAX_RANKED = 1_000_000  # voxels whose ranks are compared: sorting more takes longer than the network


def share_inside(values: NDArray[np.floating], mask: NDArray[Any]) -> float | None:
    """Return the share of a map's sum that lies where the mask is above 0; None for a map that is 0 everywhere.

    Args:
        values: any shape, 0 or more.
        mask: the same shape.
    """
    total = float(values.sum(dtype=np.float64))
    return float(values[mask > 0].sum(dtype=np.float64)) / total if total > 0 else None


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Return Spearman's rank correlation of two maps over their voxels, as Adebayo et al. 2018 compare them.

    Of more than ``MAX_RANKED`` voxels every n-th is looked at.

    Args:
        first, second: the same shape.

    Returns:
        -1 to 1; None where one of them is constant.
    """
    step = -(-first.size // MAX_RANKED)
    a, b = first.ravel()[::step], second.ravel()[::step]
    if a.min() == a.max() or b.min() == b.max():
        return None
    return float(spearmanr(a, b).statistic)
