"""How the tiles of a volume become the class probabilities of a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# added to every tile's weight, so that a volume in which nothing was found is the plain mean of its tiles
_FLOOR_VOXELS = 1.0


def mean(probabilities: np.ndarray, foreground_voxels: np.ndarray) -> np.ndarray:
    """Return the plain mean over the tiles: ``p = sum_t p_t / T``.

    Args:
        probabilities: of each tile, (T, outputs).
        foreground_voxels: predicted foreground of each tile, (T,); not used.
    """
    return probabilities.mean(axis=0)


def lesion(probabilities: np.ndarray, foreground_voxels: np.ndarray) -> np.ndarray:
    """Return the mean weighted by predicted foreground: ``p = sum_t (v_t + 1) p_t / sum_t (v_t + 1)``.

    Args:
        probabilities: of each tile, (T, outputs).
        foreground_voxels: sum of the predicted foreground probability over each tile, in voxels, (T,).
    """
    weights = foreground_voxels + _FLOOR_VOXELS
    return (weights[:, None] * probabilities).sum(axis=0) / weights.sum()


def maximum(probabilities: np.ndarray, foreground_voxels: np.ndarray) -> np.ndarray:
    """Return the largest over the tiles: ``p = max_t p_t``; a case has what one of its tiles has.

    Args:
        probabilities: of each tile, (T, outputs).
        foreground_voxels: predicted foreground of each tile, (T,); not used.
    """
    return probabilities.max(axis=0)


def noisy_or(probabilities: np.ndarray, foreground_voxels: np.ndarray) -> np.ndarray:
    """Return the probability that any tile has it, were the tiles independent: ``p = 1 - prod_t (1 - p_t)``.

    Overlapping tiles are not, so this comes out high: a threshold has to be chosen on cases.

    Args:
        probabilities: of each tile, (T, outputs).
        foreground_voxels: predicted foreground of each tile, (T,); not used.
    """
    return 1 - np.prod(1 - probabilities, axis=0)


AGGREGATIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": mean,
    "lesion": lesion,
    "max": maximum,
    "noisy_or": noisy_or,
}
