"""One synthetic head CT with any bleedings, drawn from a seed.

Every number is drawn before the kind of bleeding is looked at. So scans with one bleeding share the distributions of
lesion volume, ventricular fluid, parenchyma, grey matter, blood density, noise, size, spacing, header and
calcification, whatever its kind; only the place and the form of the blood differ. For the same volume of fluid, an
intraventricular bleeding widens the ventricles by its own volume, as hydrocephalus does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_multitask.dataset_conversion.phantom_anatomy import (
    AIR,
    BLOOD,
    CALCIFICATION,
    GREY,
    SCALP,
    SKULL,
    SULCAL_CSF,
    VENTRICLE,
    WHITE,
    Head,
    Parameters,
    build_head,
    draw_parameters,
    grey_level,
    sulcal_level,
)
from nnunet_multitask.dataset_conversion.phantom_fields import Mask, lowest
from nnunet_multitask.dataset_conversion.phantom_kinds import KINDS, Kind, place_blood, place_fracture


@dataclass(frozen=True)
class HeadScan:
    """A synthetic scan.

    Args:
        image: (Z, Y, X) int16, Hounsfield units.
        mask: (Z, Y, X) uint8, 1 where blood is.
        kinds: (Z, Y, X) uint8, 0 or the place of the kind of blood in ``KINDS``, counted from 1.
        fracture: (Z, Y, X) bool, a gap through the skull.
        tissue: (Z, Y, X) uint8, what each voxel is (``AIR`` ... ``CALCIFICATION``).
        affine: (4, 4), voxel index (x, y, z) to RAS+ mm; axes run to left, posterior, superior.
        parameters: what was drawn.
    """

    image: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.uint8]
    fracture: Mask
    tissue: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    parameters: Parameters


@dataclass(frozen=True)
class Bleeding:
    """One bleeding: its kind, and its volume as a multiple of the volume that the scan draws."""

    kind: Kind
    volume_factor: float = 1.0


def make_head_scan(kind: Kind, patient_seed: np.random.SeedSequence, scan_seed: np.random.SeedSequence) -> HeadScan:
    """Return the scan with one bleeding that two seeds and its kind determine.

    Args:
        kind: of the bleeding.
        patient_seed: scans with the same one show the same head.
        scan_seed: everything else.

    Returns:
        About 24 slices of 128 x 128 voxels at 1.8 x 1.8 x 5 mm.
    """
    rng = np.random.default_rng(scan_seed)
    return draw_scan(draw_parameters(np.random.default_rng(patient_seed), rng), [Bleeding(kind)], rng)


def draw_scan(
    parameters: Parameters, bleedings: Sequence[Bleeding], rng: np.random.Generator, fractured: bool = False
) -> HeadScan:
    """Return the scan of a head with bleedings.

    Args:
        parameters: what was drawn for patient and scan.
        bleedings: any number of them; where two would overlap, the first has the voxels.
        rng: draws textures, the places of the bleedings, and noise.
        fractured: the skull has a gap.
    """
    head = build_head(parameters, rng)
    volumes_ml = [item.volume_factor * parameters.lesion_ml for item in bleedings]
    ivh_ml = sum(volume for item, volume in zip(bleedings, volumes_ml, strict=True) if item.kind == "IVH")
    # four millimetres of brain stay outside the ventricles; calcified voxels are neither fluid nor blood
    inside = (head.depth > 4.0) & head.brain & ~head.calcified
    ventricle_count = head.num_voxels(parameters.ventricle_ml) + head.num_voxels(ivh_ml)
    ventricle_level, ventricle = lowest(head.ventricles, inside, ventricle_count)
    kinds = np.zeros(head.shell.shape, np.uint8)
    for item, volume_ml in zip(bleedings, volumes_ml, strict=True):
        free = head.brain & ~head.calcified & (kinds == 0)
        blood = place_blood(
            item.kind, head, free, ventricle=ventricle, ventricle_level=ventricle_level, volume_ml=volume_ml, rng=rng
        )
        kinds[blood] = KINDS.index(item.kind) + 1
    fracture = place_fracture(head, kinds > 0, rng) if fractured else np.zeros(head.shell.shape, bool)
    tissue = _paint(head, ventricle, kinds > 0, fracture)
    image = _hounsfield_units(head, tissue, rng)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ head.lps
    return HeadScan(image, (tissue == BLOOD).astype(np.uint8), kinds, fracture, tissue, affine, parameters)


def _paint(head: Head, ventricle: Mask, blood: Mask, fracture: Mask) -> npt.NDArray[np.uint8]:
    """Return what each voxel is; fluid in the furrows and grey matter take exact shares of what is left."""
    parameters = head.parameters
    tissue = head.shell.copy()
    tissue[fracture] = SCALP  # soft tissue fills the gap
    tissue[head.brain] = WHITE
    tissue[ventricle] = VENTRICLE
    tissue[blood] = BLOOD
    tissue[head.calcified] = CALCIFICATION
    sulcal_count = round(parameters.sulcal_fraction * np.count_nonzero(head.brain))
    _, sulcal = lowest(sulcal_level(head), tissue == WHITE, sulcal_count)
    tissue[sulcal] = SULCAL_CSF
    parenchyma = tissue == WHITE
    grey_count = round(parameters.grey_fraction * np.count_nonzero(parenchyma))
    _, grey = lowest(grey_level(head), parenchyma, grey_count)
    tissue[grey] = GREY
    return tissue


def _hounsfield_units(head: Head, tissue: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return the image: a value for each tissue, the blur of the scanner and its noise."""
    values = np.zeros(9, np.float32)
    values[[AIR, SCALP, SULCAL_CSF, VENTRICLE]] = -1000.0, 20.0, 10.0, 7.0
    values[[WHITE, GREY, BLOOD, CALCIFICATION]] = 28.0, 37.0, head.parameters.blood_hu, 220.0
    image = values[tissue]
    skull = tissue == SKULL
    profile = np.clip(head.skull_profile[skull], 0, 1)
    image[skull] = 1350.0 - 550.0 * np.sin(np.pi * profile)  # the marrow is less dense
    blood = tissue == BLOOD
    image[blood] += np.clip(2.0 * head.lumps[blood], -5, 5)
    image = ndimage.gaussian_filter(image, (0, 0.45, 0.45), truncate=3)
    noise = ndimage.gaussian_filter(rng.standard_normal(tissue.shape, np.float32), (0, 0.5, 0.5), truncate=3)
    image += noise * np.float32(head.parameters.noise_hu / noise.std())
    return np.asarray(np.clip(np.rint(image), -1024, 3071), np.int16)
