"""Patches of noise whose only informative voxels lie in a corner, and a network that has learned to find them."""

import torch
from torch.nn import functional

SIZE = 16
CORNER = slice(1, 5)  # along each axis


def planted(generator, count, informative=True):
    """Return noise (count, 1, 16, 16, 16), bright in one corner where the class is 1, and the classes, 0 and 1."""
    classes = torch.arange(count) % 2
    x = torch.randn(count, 1, SIZE, SIZE, SIZE, generator=generator) * 0.1
    if informative:
        x[:, :, CORNER, CORNER, CORNER] += classes.view(-1, 1, 1, 1, 1).float() * 2
    return x, classes.float()


def train(network, target="ich", informative=True, steps=40):
    """Train a network with the binary target to tell the classes, and leave it in ``eval`` mode."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-2)
    for _ in range(steps):
        x, classes = planted(generator, 8, informative)
        loss = functional.binary_cross_entropy_with_logits(network(x, classify=True)[1][target][:, 0], classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def mass_in_corner(values):
    """Return the share of a map's mass, (..., z, y, x), in the octant that holds the planted voxels."""
    half = tuple(slice(length // 2) for length in values.shape[-3:])
    return float(values[(..., *half)].sum() / values.sum())
