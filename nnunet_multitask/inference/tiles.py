"""The tiles of nnU-Net's sliding window: where they lie, what each contributes, and what the network said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from numpy.typing import NDArray

from nnunet_multitask.inference.aggregation import TileWeights


@dataclass(frozen=True)
class FoldTiles:
    """What one network said of the tiles of a volume.

    Attributes:
        probabilities: by target (T, mirrors, outputs).
        weights: of each tile.
    """

    probabilities: Mapping[str, NDArray[np.floating]]
    weights: TileWeights


@dataclass(frozen=True)
class CaseTiles:
    """Where the tiles of a volume lie, and what the network of each fold said of them.

    Attributes:
        boxes: first voxel and the one after the last along each axis, inside the preprocessed volume, (T, axes, 2).
        shape: of the preprocessed volume.
        folds: one entry each.
    """

    boxes: NDArray[np.integer]
    shape: tuple[int, ...]
    folds: Sequence[FoldTiles]


def tile_boxes(slicers: Sequence[tuple[Any, ...]], shape: Sequence[int], padded: Sequence[int]) -> NDArray[np.integer]:
    """Return the part of each tile that lies inside the image.

    Args:
        slicers: nnU-Net's: the channels, then a slice, or for 2d models also a number, for each axis of the padded
            volume.
        shape: of the image, before it was padded to the size of a tile.
        padded: of the padded volume; nnU-Net pads both sides alike, the far one by one more where it must.

    Returns:
        First voxel and the one after the last along each axis, (T, axes, 2), in voxels of the image.
    """
    bounds = np.array(
        [[(s.start, s.stop) if isinstance(s, slice) else (s, s + 1) for s in slicer[1:]] for slicer in slicers]
    )
    before = (np.asarray(padded) - np.asarray(shape)) // 2
    return np.asarray(np.clip(bounds - before[None, :, None], 0, np.asarray(shape)[None, :, None]))


def tile_importance(
    slicers: Sequence[tuple[Any, ...]], shape: Sequence[int], padded: Sequence[int]
) -> NDArray[np.floating]:
    """Return what each tile contributes to the segmentation: ``w_t = sum_x g_t(x) / sum_s g_s(x)``, x in the image.

    nnU-Net's Gaussian is a product over the axes, and its tiles are a grid: so is the sum over them, and the weight of
    a tile is a product of one factor for each axis.

    Args:
        slicers, shape, padded: as `tile_boxes`.

    Returns:
        (T,) in voxels; they sum to the number of voxels of the image.
    """
    weights = np.ones(len(slicers))
    for axis, (length, padded_length) in enumerate(zip(shape, padded, strict=True)):
        spans = [slicer[axis + 1] for slicer in slicers]
        if not isinstance(spans[0], slice):
            continue  # a tile of a 2d model fills its slice of the volume
        starts = sorted({span.start for span in spans})
        profile = _gaussian_profile(spans[0].stop - spans[0].start)
        total = np.zeros(padded_length)
        for start in starts:
            total[start : start + len(profile)] += profile
        before = (padded_length - length) // 2
        inside = np.zeros(padded_length)
        inside[before : before + length] = 1
        share = {s: float((profile * (inside / total)[s : s + len(profile)]).sum()) for s in starts}
        weights *= [share[span.start] for span in spans]
    return weights


def _gaussian_profile(length: int) -> NDArray[np.floating]:
    """Return nnU-Net's importance along one axis; not from its cache, which would lose the map of the whole tile."""
    profile: torch.Tensor = compute_gaussian.__wrapped__((length,), dtype=torch.float64, device=torch.device("cpu"))
    return np.asarray(profile.numpy())
