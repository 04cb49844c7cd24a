"""The largest probability of a voxel: softmax and regions, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.voxel_probabilities import maximum_probabilities

LABELS: dict[str, Any] = {"background": 0, "IPH": 1, "IVH": 2, "ignore": 3}
REGIONS = {"IPH": [1], "IVH": [2], "foreground": [1, 2]}


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_softmax(tmp_path: Path) -> None:
    voxels = np.zeros((3, 2, 2, 2), dtype=np.float32)
    voxels[0] = 1
    voxels[:, 0, 0, 0] = [0.2, 0.5, 0.3]
    voxels[:, 1, 1, 1] = [0.6, 0.0, 0.4]
    found = maximum_probabilities(write(tmp_path / "a.npz", probabilities=voxels), LABELS, REGIONS)
    assert found == pytest.approx({"IPH": 0.5, "IVH": 0.4, "foreground": 0.8})


def test_regions(tmp_path: Path) -> None:
    voxels = np.zeros((2, 2, 2, 2), dtype=np.float32)
    voxels[0, 0, 0, 0], voxels[1, 1, 1, 1] = 0.9, 0.7
    labels: dict[str, Any] = {"background": 0, "whole": [1, 2], "core": 2}
    regions = {"whole": [1, 2], "core": [2], "foreground": [1, 2]}
    found = maximum_probabilities(write(tmp_path / "a.npz", probabilities=voxels), labels, regions)
    assert found == pytest.approx({"whole": 0.9, "core": 0.7, "foreground": 0.9})


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-file\].*expected probabilities of voxels, found none"):
        maximum_probabilities(tmp_path / "nowhere.npz", LABELS, REGIONS)
    (tmp_path / "text.npz").write_text("no archive")
    whole = write(tmp_path / "b.npz", probabilities=np.ones((3, 2, 2, 2), np.float32))
    (tmp_path / "half.npz").write_bytes(whole.read_bytes()[:100])
    other = write(tmp_path / "c.npz", softmax=np.ones(3))
    for path in (tmp_path / "text.npz", tmp_path / "half.npz", other):
        with pytest.raises(InputError, match=r"\[bad-voxel-probabilities\].*--save_probabilities"):
            maximum_probabilities(path, LABELS, REGIONS)
    two = write(tmp_path / "d.npz", probabilities=np.ones((2, 2, 2, 2), np.float32))
    with pytest.raises(InputError, match=r"expected 3 channels for the labels IPH, IVH, got shape \(2, 2, 2, 2\)"):
        maximum_probabilities(two, LABELS, REGIONS)
