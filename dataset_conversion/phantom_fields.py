"""Level fields of the synthetic head: distances to shapes, smooth noise, and regions of an exact number of voxels.

Coordinates are in millimetres, arrays are (Z, Y, X).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]  # (Z, Y, X)
Mask = npt.NDArray[np.bool_]  # (Z, Y, X)
Tube = tuple[tuple[float, float, float, float], tuple[float, float, float, float]]  # x, y, z and radius of both ends


def tube_level(x: Field, y: Field, z: Field, tube: Tube, growth: Any = 1.0) -> Field:
    """Return the distance in mm to a tube whose radius changes linearly; negative inside."""
    (x0, y0, z0, r0), (x1, y1, z1, r1) = tube
    dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
    px, py, pz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    length2 = dx * dx + dy * dy + dz * dz
    t = np.clip((px * np.float32(dx) + py * np.float32(dy) + pz * np.float32(dz)) / np.float32(length2), 0, 1)
    px -= t * np.float32(dx)
    py -= t * np.float32(dy)
    pz -= t * np.float32(dz)
    distance = np.sqrt(px * px + py * py + pz * pz)
    return np.asarray(distance - (np.float32(r0) + np.float32(r1 - r0) * t) * growth, np.float32)


def ellipsoid(x: Field, y: Field, z: Field, centre: tuple[float, ...], half_axes: tuple[float, ...]) -> Field:
    """Return the norm that is 1 on an ellipsoid."""
    (cx, cy, cz), (a, b, c) = centre, half_axes
    return np.asarray(np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2), np.float32)


def lowest(level: Field, where: Mask, count: int) -> tuple[float, Mask]:
    """Return the ``count`` voxels of ``where`` with the lowest level, and the highest level among them."""
    candidates = np.flatnonzero(where)
    assert 0 < count <= len(candidates), f"{count} voxels wanted of {len(candidates)}"
    values = level.ravel()[candidates]
    chosen = np.argpartition(values, count - 1)[:count]
    mask = np.zeros(level.shape, bool)
    mask.ravel()[candidates[chosen]] = True
    return float(values[chosen].max()), mask


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], scale: tuple[float, ...]) -> Field:
    """Return a Gaussian random field of mean 0 and standard deviation 1; ``scale`` in voxels along (z, y, x)."""
    weights = []
    for size, step in zip(shape, scale, strict=True):
        knots = np.arange(-2 * step, size + 2 * step, step, dtype=np.float32)
        voxels = np.arange(size, dtype=np.float32)
        weights.append(np.exp(-0.5 * ((voxels[:, None] - knots[None, :]) / np.float32(step)) ** 2))
    field = rng.standard_normal([weight.shape[1] for weight in weights], np.float32)
    field = np.tensordot(weights[0], field, axes=(1, 0))  # (Z, knots, knots)
    field = weights[1] @ field @ weights[2].T
    return np.asarray((field - field.mean()) / field.std(), np.float32)
