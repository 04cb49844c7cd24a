"""A small data set of two models that the tests of folders, comparison and report share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

# voxel (x, y, z) of 2 x 2 x 5 mm to RAS+ mm; stored left to right reversed, as most CT is
AFFINE = np.array([[-2.0, 0, 0, 20], [0, -2.0, 0, 20], [0, 0, 5.0, -10], [0, 0, 0, 1]])


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Return a function that writes a (Z, Y, X) array as NIfTI."""

    def write(path: Path, array: Any, affine: np.ndarray = AFFINE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(np.asarray(array).T), affine), path)
        return path

    return write


@pytest.fixture
def cohort(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """Three cases in labels/ and images/, predicted by baseline/ (a voxel off) and model/ (perfect, with classes)."""
    rng = np.random.default_rng(0)
    probabilities = {"c1": 0.9, "c2": 0.2, "c3": 0.4}
    for index, case_id in enumerate(probabilities):
        mask = np.zeros((6, 20, 24), dtype=np.uint8)
        mask[2:4, 5:9, 6 : 11 + index] = 1
        mask[4, 12:15, 3:8] = 2
        write_nifti(tmp_path / "labels" / f"{case_id}.nii.gz", mask)
        write_nifti(tmp_path / "model" / f"{case_id}.nii.gz", mask)
        write_nifti(tmp_path / "baseline" / f"{case_id}.nii.gz", np.roll(mask, 1, axis=2))
        image = np.where(mask > 0, 65, 30) + rng.normal(0, 3, mask.shape)
        write_nifti(tmp_path / "images" / f"{case_id}_0000.nii.gz", image.astype(np.int16))
    dataset = {"labels": {"background": 0, "IPH": 1, "IVH": 2}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    target = {"type": "multiclass", "classes": ["IPH", "IVH"]}
    cases = {
        case_id: {
            "targets": {"subtype": {"probabilities": {"IPH": 1 - p, "IVH": p}, "decision": "IVH" if p > 0.5 else "IPH"}}
        }
        for case_id, p in probabilities.items()
    }
    classification = {"version": 1, "model": {"trainer": "T"}, "targets": {"subtype": target}, "cases": cases}
    (tmp_path / "model" / "classification.json").write_text(json.dumps(classification))
    labels = {"c1": "IVH", "c2": "IPH", "c3": "IVH"}
    sidecar = {
        "version": 1,
        "targets": {"subtype": target},
        "cases": {case_id: {"labels": {"subtype": label}, "group": case_id} for case_id, label in labels.items()},
    }
    (tmp_path / "class_labels.json").write_text(json.dumps(sidecar))
    return tmp_path
