"""A tiny raw dataset of nnU-Net with class labels and no fault, for tests to damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from nnunet_multitask.documents import read_json, write_json

SHAPE_ZYX = (4, 6, 8)
AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])  # LPS, as head CT
LESION = (slice(1, 3), slice(2, 4), slice(1, 3))  # (z, y, x), 8 voxels on one side

TRAINING = {"a": "IPH", "b": "IVH", "c": "IPH", "d": "IVH"}
TEST = {"e": "IPH", "f": "IVH"}


def scan(seed: int, lesion: bool = True) -> np.ndarray:
    """Return a head CT of 4 x 6 x 8 voxels (Z, Y, X) in HU: air around, brain, and blood in ``LESION``."""
    array = np.full(SHAPE_ZYX, -1000, np.int16)
    array[:, 1:-1, 1:-1] = 30 + np.random.default_rng(seed).integers(-5, 6, (4, 4, 6))
    if lesion:
        array[LESION] = 70
    return array


def lesion_mask(value: int = 1) -> np.ndarray:
    """Return the mask of that lesion (Z, Y, X)."""
    mask = np.zeros(SHAPE_ZYX, np.uint8)
    mask[LESION] = value
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write an array (Z, Y, X) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(array).T, affine), path)
    return path


def make_dataset(folder: Path, ending: str = ".nii.gz") -> Path:
    """Write ``Dataset001_Tiny`` into a folder: four training and two test cases, every patient once."""
    dataset = folder / "Dataset001_Tiny"
    cases = {}
    for seed, (case, label) in enumerate((TRAINING | TEST).items()):
        part = "Tr" if case in TRAINING else "Ts"
        save(dataset / f"images{part}" / f"{case}_0000{ending}", scan(seed))
        save(dataset / f"labels{part}" / f"{case}{ending}", lesion_mask())
        cases[case] = {"labels": {"subtype": label}, "group": f"P{seed}"}
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "blood": 1},
        "numTraining": len(TRAINING),
        "file_ending": ending,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    write_json(dataset / "dataset.json", document)
    targets = {"subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}}
    write_json(dataset / "class_labels.json", {"version": 1, "targets": targets, "cases": cases})
    return dataset


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Change a JSON file."""
    document = read_json(path)
    edit(document)
    write_json(path, document)
