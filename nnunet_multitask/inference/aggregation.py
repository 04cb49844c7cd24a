"""How the tiles of a volume become the class probabilities of a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.labels import Target

Floats = NDArray[np.floating]

# added to every tile's weight, so that a volume in which nothing was found is the plain mean of its tiles
_FLOOR_VOXELS = 1.0


@dataclass(frozen=True)
class TileWeights:
    """What tiles are weighed by.

    Attributes:
        foreground_voxels: sum of the predicted foreground probability over each tile, in voxels, (T,).
        importance: what each tile contributes to the segmentation of the volume, in voxels, (T,); see
            ``tiles.tile_importance``.
        top_tiles: how many tiles ``topk`` looks at.
        fitted: by target the aggregation that was fitted for it, where there is one.
    """

    foreground_voxels: Floats
    importance: Floats
    top_tiles: int = MultiTaskConfig().top_tiles
    fitted: Mapping[str, Aggregation] = field(default_factory=dict)

    def select(self, tiles: NDArray[np.bool_]) -> TileWeights:
        """Return the weights of some of the tiles, (T,) bool."""
        return TileWeights(self.foreground_voxels[tiles], self.importance[tiles], self.top_tiles, self.fitted)


Aggregation = Callable[[Floats, TileWeights], Floats]


def mean(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the plain mean over the tiles: ``p = sum_t p_t / T``.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: not used.
    """
    return np.asarray(probabilities.mean(axis=0))


def gaussian(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the mean weighted by what a tile contributes to the segmentation: ``p = sum_t w_t p_t / sum_t w_t``.

    With ``w_t = sum_x g_t(x) / sum_s g_s(x)`` over the voxels x of the image, where ``g_t`` is nnU-Net's Gaussian
    importance map laid on tile t. This is the mean over the image of a map of the class that is blended from the
    tiles as nnU-Net blends its segmentation: voxels that two tiles share are not counted twice, nor is padding.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: ``importance`` is used.
    """
    return _weighted_mean(probabilities, weights.importance)


def lesion(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the mean weighted by predicted foreground: ``p = sum_t (v_t + 1) p_t / sum_t (v_t + 1)``.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: ``foreground_voxels`` is v.
    """
    return _weighted_mean(probabilities, weights.foreground_voxels + _FLOOR_VOXELS)


def maximum(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the largest over the tiles: ``p = max_t p_t``; a case has what one of its tiles has.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: not used.
    """
    return np.asarray(probabilities.max(axis=0))


def noisy_or(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the probability that any tile has it, were the tiles independent: ``p = 1 - prod_t (1 - p_t)``.

    Overlapping tiles are not, so this comes out high: a threshold has to be chosen on cases.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: not used.
    """
    return np.asarray(1 - np.prod(1 - probabilities, axis=0))


def topk(probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the mean of the k largest over the tiles: ``p = (p_(1) + ... + p_(k)) / k``; all where there are fewer.

    Each class has its own k tiles. Between ``max`` (k = 1), which one wrong tile decides, and ``mean``.

    Args:
        probabilities: of each tile, (T, outputs).
        weights: ``top_tiles`` is k.
    """
    return np.asarray(np.sort(probabilities, axis=0)[-weights.top_tiles :].mean(axis=0))


AGGREGATIONS: Mapping[str, Aggregation] = {
    "mean": mean,
    "gaussian": gaussian,
    "lesion": lesion,
    "max": maximum,
    "noisy_or": noisy_or,
    "topk": topk,
}
GATED_ATTENTION = "gated_attention"  # is fitted: see `gated_attention.GatedAttention`
NAMES = (*AGGREGATIONS, GATED_ATTENTION)


def aggregate(name: str, target: Target, probabilities: Floats, weights: TileWeights) -> Floats:
    """Return the class probabilities of a case.

    Args:
        name: one of ``NAMES``; what is fitted is taken from the weights.
        target: exclusive classes (multiclass) are divided by their sum, which is 1 already for a mean.
        probabilities: of each tile, (T, outputs).
        weights: of each tile.

    Returns:
        (outputs,), float64.
    """
    function = weights.fitted[target.name] if name == GATED_ATTENTION else AGGREGATIONS[name]
    result = function(np.asarray(probabilities, dtype=np.float64), weights)
    return result / result.sum() if target.type == "multiclass" else result


def _weighted_mean(probabilities: Floats, weights: Floats) -> Floats:
    return np.asarray((weights[:, None] * probabilities).sum(axis=0) / weights.sum())
