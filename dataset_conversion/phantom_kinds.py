"""The five kinds of bleeding inside the skull, and a fracture of it: where each of them lies in a synthetic head.

Each kind has the place and the form by which a radiologist tells it; each fills an exact number of voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from nnunet_multitask.dataset_conversion.phantom_anatomy import Head, sulcal_level
from nnunet_multitask.dataset_conversion.phantom_fields import Field, Mask, lowest

Kind = Literal["IVH", "IPH", "SAH", "EDH", "SDH"]
KINDS: tuple[Kind, ...] = get_args(Kind)

IPH_CLEARANCE_MM = 6.0  # from the ventricles, in the level field

_SDH_CURVATURE_MM = 140.0  # the crescent is s**2 / (2 * curvature) thinner at s mm from its middle
_SAH_REACH_MM = 22.0  # from the middle, beyond which blood in the furrows gets scarce
_CONVEXITY_Z_MM = (-12.0, 45.0)  # heights at which a bleeding below the skull has its middle
_FRACTURE_HALF_WIDTH_MM = 1.3  # so that the gap is seen at 1.8 mm


def place_blood(
    kind: Kind,
    head: Head,
    free: Mask,
    *,
    ventricle: Mask,
    ventricle_level: float,
    volume_ml: float,
    rng: np.random.Generator,
) -> Mask:
    """Return the voxels that a bleeding fills.

    Args:
        kind: what it is.
        head: where it is.
        free: (Z, Y, X), what it may fill; blood of another bleeding and calcifications are not free.
        ventricle: (Z, Y, X), the ventricles, widened by the blood in them.
        ventricle_level: the level at which they end, mm.
        volume_ml: of the blood, at least that of a voxel.
        rng: draws place and form; IVH takes nothing from it.

    Returns:
        (Z, Y, X) true for as many voxels as the volume takes.
    """
    if kind == "IVH":
        return _layered(head, free & ventricle, volume_ml)
    outside = free & ~ventricle
    if kind == "IPH":
        return _blob(head, outside, ventricle_level, volume_ml, rng)
    shapes: dict[str, Callable[[Head, Mask, float, np.random.Generator], Mask]] = {
        "SAH": _in_the_furrows,
        "EDH": _lens,
        "SDH": _crescent,
    }
    return shapes[kind](head, outside, volume_ml, rng)


def place_fracture(head: Head, blood: Mask, rng: np.random.Generator) -> Mask:
    """Return the voxels of a gap through the skull, beside the blood where there is any.

    Args:
        head: where it is.
        blood: (Z, Y, X); none gives a fracture anywhere on the convexity.
        rng: draws place, direction and length.

    Returns:
        (Z, Y, X), all of it skull.
    """
    x, y, z = _middle_below_skull(head, blood & (head.depth < 12.0), rng)
    normal = _outward(x, y, z)
    # the plane of the gap holds the outward normal and a steep line, so that it crosses several slices
    steep = np.array([0.0, np.sin(angle := rng.uniform(-0.6, 0.6)), np.cos(angle)])
    across = np.cross(normal, steep)
    across /= np.linalg.norm(across)
    dx, dy, dz = head.x - x, head.y - y, head.z - z
    off_plane = np.abs(dx * across[0] + dy * across[1] + dz * across[2])
    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
    near = (off_plane < _FRACTURE_HALF_WIDTH_MM) & (distance < rng.uniform(18.0, 32.0))
    return np.asarray(near & head.skull, bool)


def _layered(head: Head, free: Mask, volume_ml: float) -> Mask:
    """IVH: blood that layers in the dependent part of the lateral ventricles."""
    in_lateral = free & (head.lateral <= head.ventricles + 0.01)
    level = head.posterior + np.sign(head.x) * np.float32(head.parameters.side_offset_mm / 2) + 0.8 * head.lumps
    return lowest(-level, in_lateral, head.num_voxels(volume_ml))[1]


def _blob(head: Head, free: Mask, ventricle_level: float, volume_ml: float, rng: np.random.Generator) -> Mask:
    """IPH: a smooth, irregular blob in the parenchyma, away from the ventricles."""
    clear = head.ventricles - ventricle_level - IPH_CLEARANCE_MM
    free = free & (head.depth > 3.0) & (np.abs(head.x) > 3.0) & (head.ventricles > ventricle_level + IPH_CLEARANCE_MM)
    room = np.minimum(head.depth - 3.0, clear)
    room = np.minimum(room, np.abs(head.x) - 3.0)
    candidates = np.flatnonzero(free)
    rooms = room.ravel()[candidates]
    # as much room as the blob wants, or the roomiest 3 % of places
    wanted = min(0.9 * _radius_mm(volume_ml), float(np.quantile(rooms, 0.97)))
    centre = rng.choice(candidates[rooms >= wanted])
    axes = rng.uniform(0.8, 1.25, 3)
    distance2 = sum(
        ((axis_field - axis_field.ravel()[centre]) / np.float32(half)) ** 2
        for axis_field, half in zip((head.x, head.y, head.z), axes, strict=True)
    )
    level = np.sqrt(distance2) * (1.0 + 0.25 * np.clip(head.lumps, -1.5, 1.5))
    return lowest(np.asarray(level, np.float32), free, head.num_voxels(volume_ml))[1]


def _in_the_furrows(head: Head, free: Mask, volume_ml: float, rng: np.random.Generator) -> Mask:
    """SAH: thin blood in the furrows and fissures of one region."""
    distance = _distance(head, *_middle_below_skull(head, np.zeros_like(free), rng))
    level = sulcal_level(head) + (distance / np.float32(_SAH_REACH_MM)) ** 2
    return lowest(np.asarray(level, np.float32), free & (head.depth > 0.5), head.num_voxels(volume_ml))[1]


def _lens(head: Head, free: Mask, volume_ml: float, rng: np.random.Generator) -> Mask:
    """EDH: a biconvex lens between skull and brain, cut off the brain by a ball whose centre lies outside the skull."""
    x, y, z = _middle_below_skull(head, np.zeros_like(free), rng)
    outside = 2.2 * _radius_mm(volume_ml) * _outward(x, y, z)
    return lowest(_distance(head, x + outside[0], y + outside[1], z + outside[2]), free, head.num_voxels(volume_ml))[1]


def _crescent(head: Head, free: Mask, volume_ml: float, rng: np.random.Generator) -> Mask:
    """SDH: a crescent along the inner side of the skull that stays on one side of the falx."""
    x, y, z = _middle_below_skull(head, np.zeros_like(free), rng)
    level = head.depth + _distance(head, x, y, z) ** 2 / np.float32(2 * _SDH_CURVATURE_MM)
    one_side = free & (np.sign(head.x) == np.sign(x)) & (np.abs(head.x) > 3.0)
    return lowest(np.asarray(level, np.float32), one_side, head.num_voxels(volume_ml))[1]


def _radius_mm(volume_ml: float) -> float:
    """Return the radius of a ball of that volume."""
    return float((3 * volume_ml * 1000 / (4 * np.pi)) ** (1 / 3))


def _middle_below_skull(head: Head, wanted: Mask, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return x, y, z in mm of a voxel at the inner side of the skull: among ``wanted``, or else on the convexity."""
    low, high = _CONVEXITY_Z_MM
    if not wanted.any():
        wanted = (head.depth > 0) & (head.depth < 3.0) & (head.z > low) & (head.z < high) & (np.abs(head.x) > 25.0)
    index = rng.choice(np.flatnonzero(wanted))
    x, y, z = (float(field.ravel()[index]) for field in (head.x, head.y, head.z))
    return x, y, z


def _outward(x: float, y: float, z: float) -> np.ndarray:
    """Return the unit normal of the skull near a point of its inner side."""
    normal = np.array([x / 76.0**2, y / 96.0**2, z / 80.0**2])
    return np.asarray(normal / np.linalg.norm(normal))


def _distance(head: Head, x: float, y: float, z: float) -> Field:
    dx, dy, dz = head.x - np.float32(x), head.y - np.float32(y), head.z - np.float32(z)
    return np.asarray(np.sqrt(dx * dx + dy * dy + dz * dz), np.float32)
