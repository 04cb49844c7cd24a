"""Maps of tiles blended to maps of a volume, with the weights by which nnU-Net blends its segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch.nn import functional


class Blend:
    """Sums up maps of tiles, weighted by nnU-Net's Gaussian, and divides by the sum of the weights.

    Every map is brought to the size of its tile first, trilinearly (bilinearly in 2d). Adding the tiles of several
    networks gives the mean over the networks. In main memory, one float32 volume for each map.

    Args:
        num_maps: M.
        shape: of the volume, padded to the size of a tile at least.
        tile: size of a tile; one axis fewer than the volume for 2d models.
    """

    def __init__(self, num_maps: int, shape: Sequence[int], tile: Sequence[int]) -> None:
        self.tile = tuple(tile)
        self._sums = torch.zeros((num_maps, *shape))
        self._weights = torch.zeros(tuple(shape))
        # not from nnU-Net's cache, which would lose what its predictor keeps there
        self._gaussian: torch.Tensor = compute_gaussian.__wrapped__(
            self.tile, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu")
        )

    def add(self, slicer: tuple[Any, ...], maps: Sequence[torch.Tensor]) -> None:
        """Add the maps of a tile.

        Args:
            slicer: nnU-Net's: the channels, then a slice, or for 2d models also a number, for each axis.
            maps: M of them, each (1, 1, *any size).
        """
        mode = "trilinear" if len(self.tile) == 3 else "bilinear"
        place = slicer[1:]
        for index, found in enumerate(maps):
            large = functional.interpolate(found.float(), self.tile, mode=mode, align_corners=False)
            self._sums[index][place] += large[0, 0].cpu() * self._gaussian
        self._weights[place] += self._gaussian

    def mean(self) -> torch.Tensor:
        """Return the blended maps, (M, *shape); the sums are used up."""
        return self._sums.div_(self._weights)
