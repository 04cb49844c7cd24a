"""A folder of images, masks and a table for the generic converter."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.errors import InputErrors


def save(path: Path, values: int = 1) -> None:
    """Write 0, 1, ... up to ``values``; an image of another name has other voxels besides."""
    array = np.zeros((5, 4, 3), np.int16)
    array[0, 0, : values + 1] = np.arange(values + 1)
    if path.parent.name.startswith("images"):
        array[4] = zlib.crc32(path.name.split(".")[0].encode()) % 1000
    if path.parent.name == "images":
        array[4, 3, 2] = zlib.crc32(path.name.encode()) % 1000  # no two images are the same
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def make(tmp_path: Path, table: str, cases: Iterable[str] = "abc", ending: str = ".nii.gz") -> Path:
    """Write ``in/`` with an image and a mask of every case and a table, and an empty ``raw/`` beside it."""
    for case in cases:
        save(tmp_path / "in" / "images" / f"{case}{ending}")
        save(tmp_path / "in" / "labels" / f"{case}{ending}", values=2)
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "classes.csv").write_text(table)
    (tmp_path / "raw").mkdir()
    return tmp_path / "in"


def run(source: Path, **options: Any) -> Path:
    """Convert it with the given settings and return the dataset's folder."""
    options = {"channel_names": ["MR"]} | options
    chosen = ConversionOptions(overwrite=options.pop("overwrite", False), progress=False, num_workers=1)
    settings = FolderSettings(**options)
    raw_dir = source.parent / "raw"
    return convert(source, raw_dir, dataset_id=7, dataset_name="Own", settings=settings, options=chosen).folder


def faults(source: Path, **options: Any) -> list[str]:
    """Return the codes for which the conversion is refused."""
    with pytest.raises(InputErrors) as caught:
        run(source, **options)
    return [error.code for error in caught.value.errors]
