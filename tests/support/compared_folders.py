"""Folders of masks for ``nnunet-multitask compare``, and the command that compares them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from nnunet_multitask.cli.main import main


def write_folders(tmp_path: Path) -> Path:
    """Write two cases: labelsTs/, imagesTs/, stock/ (a voxel off), better/ (perfect) and dataset.json."""
    affine = np.diag([2, 2, 5, 1])
    for index, case_id in enumerate(("a", "b")):
        mask = np.zeros((16, 16, 4), dtype=np.uint8)
        mask[4:8, 4:8, 1 : 3 + index] = 1
        arrays = {"labelsTs": mask, "better": mask, "stock": np.roll(mask, 1, axis=0), "imagesTs": mask * 60}
        for folder, array in arrays.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            name = f"{case_id}_0000" if folder == "imagesTs" else case_id
            nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / folder / f"{name}.nii.gz")
    dataset = {"labels": {"background": 0, "bleeding": 1}, "channel_names": {"0": "MR"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    return tmp_path


def compare(folders: Path, *options: str, baseline: str = "", model: str = "better=") -> int:
    """Compare ``better`` with ``stock`` and return the exit status; what is written lies in ``out/``."""
    return main(
        [
            "compare",
            *("--reference", str(folders / "labelsTs")),
            *("--baseline", f"{baseline}{folders / 'stock'}"),
            *("--model", f"{model}{folders / 'better'}"),
            *("--output", str(folders / "out")),
            *("--num-workers", "1"),
            *options,
        ]
    )
