"""Which training cases have a mask."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from nnunet_multitask.workflows.annotated_cases import MaskContent, label_only_cases, mask_content


def test_content_of_a_mask(tmp_path: Path):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    mask = np.zeros((4, 4, 3), np.uint8)
    mask[0], mask[1, :2] = 2, 1
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "mask.nii.gz")
    content = mask_content(str(tmp_path / "mask.nii.gz"), 2, SimpleITKIO)
    assert content == MaskContent(ignored=12, foreground=6, voxels=48)
    assert label_only_cases({"b": MaskContent(48, 0, 48), "a": MaskContent(48, 0, 48), "c": content}) == ("a", "b")
