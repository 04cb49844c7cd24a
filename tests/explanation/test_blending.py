"""Blending of tiles: one tile is itself, several are weighted as in nnU-Net, coarse maps are laid on a tile."""

import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from nnunet_multitask.explanation.blending import Blend

ALL = slice(None)


def test_one_tile_is_the_map_of_the_volume():
    found = torch.rand(1, 1, 4, 6, 8)
    blend = Blend(1, (4, 6, 8), (4, 6, 8))
    blend.add((ALL, slice(0, 4), slice(0, 6), slice(0, 8)), [found])
    torch.testing.assert_close(blend.mean()[0], found[0, 0])


def test_overlap_has_the_mean_under_nnunets_gaussian():
    first, second = torch.full((1, 1, 4, 4, 4), 1.0), torch.full((1, 1, 4, 4, 4), 3.0)
    blend = Blend(1, (4, 4, 6), (4, 4, 4))
    blend.add((ALL, slice(0, 4), slice(0, 4), slice(0, 4)), [first])
    blend.add((ALL, slice(0, 4), slice(0, 4), slice(2, 6)), [second])
    found = blend.mean()[0]
    weights = compute_gaussian((4, 4, 4), value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu"))
    left, right = weights[1, 2, 3], weights[1, 2, 1]  # voxel (1, 2, 3) lies at these places of the two tiles
    torch.testing.assert_close(found[1, 2, 3], (left + 3 * right) / (left + right))
    assert (found[..., :2] == 1).all()
    torch.testing.assert_close(found[..., 4:], torch.full((4, 4, 2), 3.0))


def test_two_networks_give_their_mean():
    blend = Blend(1, (2, 2, 2), (2, 2, 2))
    for value in (1.0, 4.0):
        blend.add((ALL, *[slice(0, 2)] * 3), [torch.full((1, 1, 2, 2, 2), value)])
    torch.testing.assert_close(blend.mean(), torch.full((1, 2, 2, 2), 2.5))


def test_coarse_maps_are_laid_on_the_whole_tile():
    coarse = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2)
    blend = Blend(1, (1, 1, 4), (1, 1, 4))
    blend.add((ALL, slice(0, 1), slice(0, 1), slice(0, 4)), [coarse])
    # centres of the two coarse voxels at 0.5 and 2.5 of the fine ones, linear between, constant outside
    torch.testing.assert_close(blend.mean()[0, 0, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))


def test_tiles_of_2d_models_are_slices():
    blend = Blend(2, (3, 4, 4), (4, 4))
    for z in range(3):
        blend.add((ALL, z, slice(0, 4), slice(0, 4)), [torch.full((1, 1, 2, 2), float(z)), torch.ones(1, 1, 4, 4)])
    found = blend.mean()
    torch.testing.assert_close(found[0, :, 1, 2], torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(found[1], torch.ones(3, 4, 4))
