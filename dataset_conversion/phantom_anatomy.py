"""One synthetic head CT with a bleeding, drawn from a seed.

The head is made for checking software, not for medicine: it proves that a pipeline works and says nothing about
accuracy on patients. Tissue volumes are set by thresholding smooth level fields at exact voxel counts, and every number
is drawn before the kind of bleeding is looked at. So the two kinds share the distributions of lesion volume,
ventricular fluid, parenchyma, grey matter, blood density, noise, size, spacing, header and calcification; only the
place and the form of the blood differ. For the same volume of fluid, an intraventricular bleeding widens the ventricles
by its own volume, as hydrocephalus does.

Coordinates: head frame in millimetres, x to the patient's left, y to the back, z up; the origin lies in the middle of
the brain. Arrays are (Z, Y, X).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Kind = Literal["IPH", "IVH"]
Field = npt.NDArray[np.float32]  # (Z, Y, X)
Mask = npt.NDArray[np.bool_]  # (Z, Y, X)
Tube = tuple[tuple[float, float, float, float], tuple[float, float, float, float]]  # x, y, z and radius of both ends

AIR, SCALP, SKULL, SULCAL_CSF, VENTRICLE, WHITE, GREY, BLOOD, CALCIFICATION = range(9)

IN_PLANE_SIZE = 128
IPH_CLEARANCE_MM = 6.0  # from the ventricles, in the level field
TINY_FRACTION = 0.06

# middle line of one lateral ventricle: |x|, y, z and radius, in mm
_LATERAL_VENTRICLE = (
    ((15.0, -38.0, 9.0, 3.5), (7.0, -14.0, 14.0, 5.5)),  # frontal horn
    ((7.0, -14.0, 14.0, 5.5), (9.0, 10.0, 21.0, 5.5)),  # body
    ((9.0, 10.0, 21.0, 5.5), (21.0, 31.0, 11.0, 7.5)),  # atrium
    ((21.0, 31.0, 11.0, 7.5), (17.0, 60.0, 5.0, 3.5)),  # occipital horn
    ((21.0, 31.0, 11.0, 7.5), (33.0, 4.0, -14.0, 1.0)),  # temporal horn
)
_PETROUS_RIDGE = ((22.0, 12.0, -42.0, 5.0), (62.0, 34.0, -44.0, 8.0))
_DEEP_GREY = (  # centre |x|, y, z and half axes: thalamus, lentiform nucleus, head of the caudate nucleus
    ((10.0, 9.0, 5.0), (7.0, 14.0, 9.0)),
    ((27.0, -6.0, 4.0), (6.0, 16.0, 10.0)),
    ((15.0, -24.0, 8.0), (5.0, 9.0, 9.0)),
)


@dataclass(frozen=True)
class HeadScan:
    """A synthetic scan.

    Args:
        image: (Z, Y, X) int16, Hounsfield units.
        mask: (Z, Y, X) uint8, 1 where blood is.
        tissue: (Z, Y, X) uint8, what each voxel is (``AIR`` ... ``CALCIFICATION``).
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm; axes run to left, posterior, superior.
        parameters: what was drawn.
    """

    image: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    tissue: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    parameters: Parameters


@dataclass(frozen=True)
class Parameters:
    """Everything about a scan that does not depend on the kind of its bleeding. Lengths in mm, volumes in mL, HU."""

    # of the patient
    head_size: float
    head_width: float
    ventricle_ml: float
    ventricle_asymmetry: float
    sulcal_fraction: float
    grey_fraction: float
    skull_mm: float
    pineal_calcification: bool
    plexus_calcification: bool
    # of the scan
    lesion_ml: float
    blood_hu: float
    noise_hu: float
    num_slices: int
    spacing_xy_mm: float
    tilt_degrees: float
    roll_degrees: float
    shift_mm: tuple[float, float, float]
    side_offset_mm: float
    qform_only: bool


def draw_parameters(patient: np.random.Generator, scan: np.random.Generator) -> Parameters:
    """Draw what a patient and a scan are like; the kind of bleeding is not known here."""
    tiny = scan.random() < TINY_FRACTION
    volume = scan.uniform(0.5, 1.0) if tiny else np.clip(scan.lognormal(np.log(10.0), 0.5), 3.0, 25.0)
    tilted = scan.random() < 0.4
    return Parameters(
        head_size=float(np.clip(patient.normal(1.0, 0.035), 0.92, 1.08)),
        head_width=float(np.clip(patient.normal(1.0, 0.03), 0.93, 1.07)),
        ventricle_ml=float(np.clip(patient.lognormal(np.log(24.0), 0.3), 14.0, 45.0)),
        ventricle_asymmetry=patient.uniform(-0.12, 0.12),
        sulcal_fraction=patient.uniform(0.06, 0.11),
        grey_fraction=patient.uniform(0.50, 0.56),
        skull_mm=patient.uniform(6.0, 8.0),
        pineal_calcification=bool(patient.random() < 0.35),
        plexus_calcification=bool(patient.random() < 0.35),
        lesion_ml=float(volume),
        blood_hu=scan.uniform(58.0, 72.0),
        noise_hu=scan.uniform(3.0, 5.0),
        num_slices=int(scan.integers(23, 26)),
        spacing_xy_mm=float(scan.choice([1.75, 1.8, 1.85])),
        tilt_degrees=scan.uniform(5.0, 16.0) if tilted else 0.0,
        roll_degrees=scan.uniform(-7.0, 7.0),
        shift_mm=(scan.uniform(-5.0, 5.0), scan.uniform(-5.0, 5.0), scan.uniform(-4.0, 4.0)),
        side_offset_mm=scan.uniform(-30.0, 30.0),
        qform_only=bool(scan.random() < 0.2),
    )


def make_head_scan(kind: Kind, patient_seed: np.random.SeedSequence, scan_seed: np.random.SeedSequence) -> HeadScan:
    """Return the scan that two seeds and a kind of bleeding determine.

    Args:
        kind: ``IPH``, a blob in the parenchyma away from the ventricles, or ``IVH``, blood that layers in the
            dependent (posterior) part of the lateral ventricles.
        patient_seed: scans with the same one show the same head.
        scan_seed: everything else.

    Returns:
        About 24 slices of 128 x 128 voxels at 1.8 x 1.8 x 5 mm.
    """
    scan_rng = np.random.default_rng(scan_seed)
    patient_rng = np.random.default_rng(patient_seed)
    parameters = draw_parameters(patient_rng, scan_rng)
    shape = (parameters.num_slices, IN_PLANE_SIZE, IN_PLANE_SIZE)
    spacing_xyz = np.array([parameters.spacing_xy_mm, parameters.spacing_xy_mm, 5.0])
    lps = _scan_affine(parameters, spacing_xyz, shape)
    x, y, z, posterior = _head_coordinates(lps, parameters, shape)
    voxel_ml = float(spacing_xyz.prod()) / 1000.0

    folds = _smooth_field(scan_rng, shape, (1.2, 3.8, 3.8))
    lumps = _smooth_field(scan_rng, shape, (2.0, 6.0, 6.0))

    tissue = np.full(shape, AIR, np.uint8)
    depth = _depth_below_skin(x, y, z, parameters)  # mm
    tissue[depth > 0] = SCALP
    depth -= 5.0
    skull_profile = depth / parameters.skull_mm  # 0 at the outer, 1 at the inner table
    tissue[depth > 0] = SKULL
    depth -= parameters.skull_mm
    ridge = _tube_level(np.abs(x), y, z, _PETROUS_RIDGE) < 0
    brain = (depth > 0) & ~ridge

    lateral, ventricles = _ventricle_levels(x, y, z, lumps, parameters)
    fluid_count = round(parameters.ventricle_ml / voxel_ml)
    blood_count = round(parameters.lesion_ml / voxel_ml)
    calcified = _calcifications(x, y, z, parameters) & brain

    ventricle_count = fluid_count + (blood_count if kind == "IVH" else 0)
    # four millimetres of brain stay outside the ventricles; calcified voxels are neither fluid nor blood
    ventricle_level, ventricle = _lowest(ventricles, (depth > 4.0) & brain & ~calcified, ventricle_count)
    if kind == "IVH":
        in_lateral = ventricle & (lateral <= ventricles + 0.01)
        level = posterior + np.sign(x) * np.float32(parameters.side_offset_mm / 2) + 0.8 * lumps
        _, blood = _lowest(-level, in_lateral, blood_count)
    else:
        free = (
            brain & ~calcified & (depth > 3.0) & (np.abs(x) > 3.0) & (ventricles > ventricle_level + IPH_CLEARANCE_MM)
        )
        room = np.minimum(depth - 3.0, ventricles - ventricle_level - IPH_CLEARANCE_MM)
        room = np.minimum(room, np.abs(x) - 3.0)
        blood = _blob(
            scan_rng, (x, y, z), lumps, free=free, room=room, count=blood_count, lesion_ml=parameters.lesion_ml
        )
    tissue[brain] = WHITE
    tissue[ventricle] = VENTRICLE
    tissue[blood] = BLOOD
    tissue[calcified] = CALCIFICATION

    # fluid in the furrows and grey matter, again by exact shares of what is left
    sulcal_count = round(parameters.sulcal_fraction * np.count_nonzero(brain))
    _, sulcal = _lowest(_sulcal_level(x, y, z, depth, folds), tissue == WHITE, sulcal_count)
    tissue[sulcal] = SULCAL_CSF
    parenchyma = tissue == WHITE
    grey_count = round(parameters.grey_fraction * np.count_nonzero(parenchyma))
    _, grey = _lowest(_grey_level(x, y, z, depth, folds), parenchyma, grey_count)
    tissue[grey] = GREY

    image = _hounsfield_units(scan_rng, tissue, skull_profile, lumps, parameters)
    mask = (tissue == BLOOD).astype(np.uint8)
    return HeadScan(image, mask, tissue, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, parameters)


# --- geometry -----------------------------------------------------------------------------------------------------


def _scan_affine(parameters: Parameters, spacing_xyz: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return (4, 4), voxel index (x, y, z) to LPS+ mm; a gantry tilt is a rotation about the left-right axis."""
    angle = np.deg2rad(parameters.tilt_degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing_xyz
    centre = np.array([0.0, 0.0, 9.0]) + parameters.shift_mm
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return affine


def _head_coordinates(
    lps: npt.NDArray[Any], parameters: Parameters, shape: tuple[int, ...]
) -> tuple[Field, Field, Field, Field]:
    """Return x, y, z of every voxel in the frame of a head of standard size, and its mm towards the couch."""
    angle = np.deg2rad(parameters.roll_degrees)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    indices = [np.arange(size, dtype=np.float32) for size in shape[::-1]]

    def coordinate(row: npt.NDArray[Any], offset: float) -> Field:
        along_x, along_y, along_z = (np.float32(weight) * index for weight, index in zip(row, indices, strict=True))
        plane = along_y[:, None] + along_x[None, :] + np.float32(offset)
        return np.asarray(along_z[:, None, None] + plane[None], np.float32)

    linear, offset = roll @ lps[:3, :3], roll @ lps[:3, 3]
    x, y, z = (coordinate(linear[i], offset[i]) / np.float32(parameters.head_size) for i in range(3))
    return x / np.float32(parameters.head_width), y, z, coordinate(lps[1, :3], lps[1, 3])


def _depth_below_skin(x: Field, y: Field, z: Field, parameters: Parameters) -> Field:
    """Return the depth in mm below an egg-shaped skin; negative outside. First order, good near the surface."""
    width = 76.0 * (1.0 + 0.0011 * y - 0.000004 * y * y)
    height = np.where(z > 0, np.float32(80.0), np.float32(112.0))
    u, v, w = x / width, y / np.float32(96.0), z / height
    radius = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / width) ** 2 + (v / np.float32(96.0)) ** 2 + (w / height) ** 2)
    depth = (1.0 - radius) * radius / np.maximum(slope, np.float32(1e-4))
    return np.asarray(depth * np.float32(parameters.head_size), np.float32)


def _tube_level(x: Field, y: Field, z: Field, tube: Tube, growth: Any = 1.0) -> Field:
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


def _ellipsoid(x: Field, y: Field, z: Field, centre: tuple[float, ...], half_axes: tuple[float, ...]) -> Field:
    """Return the norm that is 1 on an ellipsoid."""
    (cx, cy, cz), (a, b, c) = centre, half_axes
    return np.asarray(np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2), np.float32)


def _ventricle_levels(x: Field, y: Field, z: Field, lumps: Field, parameters: Parameters) -> tuple[Field, Field]:
    """Return the level fields (mm, negative inside) of the lateral ventricles and of all ventricles."""
    side = np.abs(x)
    growth = 1.0 + np.sign(x) * np.float32(parameters.ventricle_asymmetry)
    lateral = _tube_level(side, y, z, _LATERAL_VENTRICLE[0], growth)
    for tube in _LATERAL_VENTRICLE[1:]:
        np.minimum(lateral, _tube_level(side, y, z, tube, growth), out=lateral)
    # the septum keeps the two sides apart however wide they are
    lateral += 0.6 * lumps + np.maximum(0, 6.0 * (np.float32(2.2) - side))
    third = (_ellipsoid(x, y, z, (0.0, 2.0, -1.0), (2.6, 15.0, 11.0)) - 1.0) * 3.0
    fourth = (_ellipsoid(x, y, z, (0.0, 38.0, -36.0), (8.0, 6.0, 9.0)) - 1.0) * 7.0
    return lateral, np.minimum(lateral, np.minimum(third, fourth))


def _calcifications(x: Field, y: Field, z: Field, parameters: Parameters) -> Mask:
    """Return the voxels of a calcified pineal gland and of calcified choroid plexus, each of which may be absent."""
    found = np.zeros(x.shape, bool)
    if parameters.pineal_calcification:
        found |= _ellipsoid(x, y, z, (0.5, 27.0, 3.0), (2.6, 2.6, 3.6)) < 1
    if parameters.plexus_calcification:
        found |= _ellipsoid(np.abs(x), y, z, (21.0, 33.0, 11.0), (2.4, 3.2, 3.6)) < 1
    return found


# --- blood and tissue ---------------------------------------------------------------------------------------------


def _blob(
    rng: np.random.Generator,
    coordinates: tuple[Field, Field, Field],
    lumps: Field,
    *,
    free: Mask,
    room: Field,
    count: int,
    lesion_ml: float,
) -> Mask:
    """Return ``count`` free voxels around a centre that has room: a smooth, irregular blob."""
    radius = (3 * lesion_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    candidates = np.flatnonzero(free)
    rooms = room.ravel()[candidates]
    # as much room as the blob wants, or the roomiest 3 % of places
    wanted = min(0.9 * radius, float(np.quantile(rooms, 0.97)))
    centre = rng.choice(candidates[rooms >= wanted])
    axes = rng.uniform(0.8, 1.25, 3)
    distance2 = sum(
        ((axis_field - axis_field.ravel()[centre]) / np.float32(half)) ** 2
        for axis_field, half in zip(coordinates, axes, strict=True)
    )
    level = np.sqrt(distance2) * (1.0 + 0.25 * np.clip(lumps, -1.5, 1.5))
    return _lowest(np.asarray(level, np.float32), free, count)[1]


def _sulcal_level(x: Field, y: Field, z: Field, depth: Field, folds: Field) -> Field:
    """Return a field that is low in the furrows, in the fissures and directly below the skull."""
    furrows = 3.0 * np.abs(folds) * (1.0 + (depth / 9.0) ** 2)
    level = np.minimum(furrows, depth / 1.2)
    side = np.abs(x)
    callosum = _ellipsoid(x, y, z, (0.0, 2.0, 5.0), (60.0, 46.0, 32.0))
    between_hemispheres = side / 1.3 + 6.0 * np.maximum(0, 1.0 - callosum) + 0.1 * np.maximum(0, -25.0 - z)
    lateral_fissure = np.abs(y + 14.0 - 0.35 * z) / 2.2 + np.maximum(0, 42.0 - side) / 3.0
    lateral_fissure += np.maximum(0, np.abs(z - 4.0) - 14.0) / 3.0
    return np.asarray(np.minimum(level, np.minimum(between_hemispheres, lateral_fissure)), np.float32)


def _grey_level(x: Field, y: Field, z: Field, depth: Field, folds: Field) -> Field:
    """Return a field that is low in the cortex and in the deep nuclei."""
    level = np.minimum(depth / 7.0, 1.5 * np.abs(folds) * (1.0 + (depth / 13.0) ** 2))
    for centre, half_axes in _DEEP_GREY:
        np.minimum(level, 0.9 * _ellipsoid(np.abs(x), y, z, centre, half_axes), out=level)
    return level


def _lowest(level: Field, where: Mask, count: int) -> tuple[float, Mask]:
    """Return the ``count`` voxels of ``where`` with the lowest level, and the highest level among them."""
    candidates = np.flatnonzero(where)
    assert 0 < count <= len(candidates), f"{count} voxels wanted of {len(candidates)}"
    values = level.ravel()[candidates]
    chosen = np.argpartition(values, count - 1)[:count]
    mask = np.zeros(level.shape, bool)
    mask.ravel()[candidates[chosen]] = True
    return float(values[chosen].max()), mask


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], scale: tuple[float, ...]) -> Field:
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


def _hounsfield_units(
    rng: np.random.Generator, tissue: npt.NDArray[np.uint8], skull_profile: Field, lumps: Field, parameters: Parameters
) -> npt.NDArray[np.int16]:
    """Return the image: a value for each tissue, the blur of the scanner and its noise."""
    values = np.zeros(9, np.float32)
    values[[AIR, SCALP, SULCAL_CSF, VENTRICLE]] = -1000.0, 20.0, 10.0, 7.0
    values[[WHITE, GREY, BLOOD, CALCIFICATION]] = 28.0, 37.0, parameters.blood_hu, 220.0
    image = values[tissue]
    skull = tissue == SKULL
    image[skull] = 1350.0 - 550.0 * np.sin(np.pi * np.clip(skull_profile[skull], 0, 1))  # the marrow is less dense
    blood = tissue == BLOOD
    image[blood] += np.clip(2.0 * lumps[blood], -5, 5)
    image = ndimage.gaussian_filter(image, (0, 0.45, 0.45), truncate=3)
    noise = ndimage.gaussian_filter(rng.standard_normal(tissue.shape, np.float32), (0, 0.5, 0.5), truncate=3)
    image += noise * np.float32(parameters.noise_hu / noise.std())
    return np.asarray(np.clip(np.rint(image), -1024, 3071), np.int16)
