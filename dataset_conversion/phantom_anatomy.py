"""The synthetic head: what its patient is like, where its tissues lie, without any bleeding yet.

The head is made for checking software, not for medicine: it proves that a pipeline works and says nothing about
accuracy on patients. Tissue volumes are set by thresholding smooth level fields at exact voxel counts.

Coordinates: head frame in millimetres, x to the patient's left, y to the back, z up; the origin lies in the middle of
the brain. Arrays are (Z, Y, X).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.phantom_fields import Field, Mask, ellipsoid, smooth_field, tube_level

AIR, SCALP, SKULL, SULCAL_CSF, VENTRICLE, WHITE, GREY, BLOOD, CALCIFICATION = range(9)

IN_PLANE_SIZE = 128
SLICE_SPACING_MM = 5.0
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


@dataclass(frozen=True)
class Head:
    """A head on the voxels of a scan. Arrays are (Z, Y, X).

    Args:
        parameters: what was drawn.
        lps: (4, 4), voxel index (x, y, z) to LPS+ mm.
        x, y, z: of every voxel in the frame of a head of standard size, mm.
        posterior: of every voxel towards the couch, mm.
        depth: below the inner side of the skull, mm; negative outside.
        skull_profile: 0 at the outer, 1 at the inner side of the skull.
        shell: ``AIR``, ``SCALP`` or ``SKULL``; brain counts as skull.
        brain: what the skull encloses.
        lateral, ventricles: levels of the lateral and of all ventricles, mm, negative inside.
        calcified: pineal gland and choroid plexus, where calcified.
        folds, lumps: smooth noise of mean 0 and standard deviation 1.
    """

    parameters: Parameters
    lps: npt.NDArray[np.float64]
    x: Field
    y: Field
    z: Field
    posterior: Field
    depth: Field
    skull_profile: Field
    shell: npt.NDArray[np.uint8]
    brain: Mask
    lateral: Field
    ventricles: Field
    calcified: Mask
    folds: Field
    lumps: Field

    @property
    def skull(self) -> Mask:
        """The bone, (Z, Y, X)."""
        return np.asarray((self.shell == SKULL) & ~self.brain)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        spacing_mm = self.parameters.spacing_xy_mm
        return spacing_mm * spacing_mm * SLICE_SPACING_MM / 1000.0

    def num_voxels(self, volume_ml: float) -> int:
        """Return how many voxels a volume takes."""
        return round(volume_ml / self.voxel_ml)


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


def build_head(parameters: Parameters, rng: np.random.Generator) -> Head:
    """Return the head that parameters and a generator determine, about 24 slices of 128 x 128 voxels."""
    shape = (parameters.num_slices, IN_PLANE_SIZE, IN_PLANE_SIZE)
    lps = _scan_affine(parameters, shape)
    x, y, z, posterior = _head_coordinates(lps, parameters, shape)
    folds = smooth_field(rng, shape, (1.2, 3.8, 3.8))
    lumps = smooth_field(rng, shape, (2.0, 6.0, 6.0))
    shell = np.full(shape, AIR, np.uint8)
    depth = _depth_below_skin(x, y, z, parameters)
    shell[depth > 0] = SCALP
    depth -= 5.0
    skull_profile = depth / parameters.skull_mm
    shell[depth > 0] = SKULL
    depth -= parameters.skull_mm
    ridge = tube_level(np.abs(x), y, z, _PETROUS_RIDGE) < 0
    brain = (depth > 0) & ~ridge
    lateral, ventricles = _ventricle_levels(x, y, z, lumps, parameters)
    return Head(
        parameters=parameters,
        lps=lps,
        x=x,
        y=y,
        z=z,
        posterior=posterior,
        depth=depth,
        skull_profile=skull_profile,
        shell=shell,
        brain=brain,
        lateral=lateral,
        ventricles=ventricles,
        calcified=_calcifications(x, y, z, parameters) & brain,
        folds=folds,
        lumps=lumps,
    )


def sulcal_level(head: Head) -> Field:
    """Return a field that is low in the furrows, in the fissures and directly below the skull."""
    x, y, z, depth, folds = head.x, head.y, head.z, head.depth, head.folds
    furrows = 3.0 * np.abs(folds) * (1.0 + (depth / 9.0) ** 2)
    level = np.minimum(furrows, depth / 1.2)
    side = np.abs(x)
    callosum = ellipsoid(x, y, z, (0.0, 2.0, 5.0), (60.0, 46.0, 32.0))
    between_hemispheres = side / 1.3 + 6.0 * np.maximum(0, 1.0 - callosum) + 0.1 * np.maximum(0, -25.0 - z)
    lateral_fissure = np.abs(y + 14.0 - 0.35 * z) / 2.2 + np.maximum(0, 42.0 - side) / 3.0
    lateral_fissure += np.maximum(0, np.abs(z - 4.0) - 14.0) / 3.0
    return np.asarray(np.minimum(level, np.minimum(between_hemispheres, lateral_fissure)), np.float32)


def grey_level(head: Head) -> Field:
    """Return a field that is low in the cortex and in the deep nuclei."""
    x, y, z, depth, folds = head.x, head.y, head.z, head.depth, head.folds
    level = np.minimum(depth / 7.0, 1.5 * np.abs(folds) * (1.0 + (depth / 13.0) ** 2))
    for centre, half_axes in _DEEP_GREY:
        np.minimum(level, 0.9 * ellipsoid(np.abs(x), y, z, centre, half_axes), out=level)
    return level


def _scan_affine(parameters: Parameters, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return (4, 4), voxel index (x, y, z) to LPS+ mm; a gantry tilt is a rotation about the left-right axis."""
    angle = np.deg2rad(parameters.tilt_degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spacing_xyz = np.array([parameters.spacing_xy_mm, parameters.spacing_xy_mm, SLICE_SPACING_MM])
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


def _ventricle_levels(x: Field, y: Field, z: Field, lumps: Field, parameters: Parameters) -> tuple[Field, Field]:
    """Return the level fields (mm, negative inside) of the lateral ventricles and of all ventricles."""
    side = np.abs(x)
    growth = 1.0 + np.sign(x) * np.float32(parameters.ventricle_asymmetry)
    lateral = tube_level(side, y, z, _LATERAL_VENTRICLE[0], growth)
    for tube in _LATERAL_VENTRICLE[1:]:
        np.minimum(lateral, tube_level(side, y, z, tube, growth), out=lateral)
    # the septum keeps the two sides apart however wide they are
    lateral += 0.6 * lumps + np.maximum(0, 6.0 * (np.float32(2.2) - side))
    third = (ellipsoid(x, y, z, (0.0, 2.0, -1.0), (2.6, 15.0, 11.0)) - 1.0) * 3.0
    fourth = (ellipsoid(x, y, z, (0.0, 38.0, -36.0), (8.0, 6.0, 9.0)) - 1.0) * 7.0
    return lateral, np.minimum(lateral, np.minimum(third, fourth))


def _calcifications(x: Field, y: Field, z: Field, parameters: Parameters) -> Mask:
    """Return the voxels of a calcified pineal gland and of calcified choroid plexus, each of which may be absent."""
    found = np.zeros(x.shape, bool)
    if parameters.pineal_calcification:
        found |= ellipsoid(x, y, z, (0.5, 27.0, 3.0), (2.6, 2.6, 3.6)) < 1
    if parameters.plexus_calcification:
        found |= ellipsoid(np.abs(x), y, z, (21.0, 33.0, 11.0), (2.4, 3.2, 3.6)) < 1
    return found
