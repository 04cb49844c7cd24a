"""HemSeg-200 as published, as small as it can be."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.hemseg200 import convert
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputErrors

SCANS = {"train": ["00000000a1", "00000000a2"], "val": ["00000000b1"], "test": ["00000000c1"]}
CLASSES = {"00000000a1": 0, "00000000a2": 1, "00000000b1": 1, "00000000c1": 0}
AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])


def save(path: Path, num_slices: int = 4, dtype: type = np.int16, mask: bool = False) -> None:
    """Write a scan, of which no two are the same, or with ``mask`` a lesion of one voxel."""
    array = np.zeros((6, 5, num_slices), dtype)
    if mask:
        array[2, 1, 3] = 1
    else:
        array += np.arange(num_slices, dtype=dtype) - 1000
        array[0, 0, 0] = int(path.name[:10], 16) % 1000  # no two scans are the same
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)


def write_patients(root: Path, patients: dict[str, str], keys: tuple[str, str] = ("patient", "scan_")) -> None:
    """Write the list that names the patient of every scan."""
    lines = [json.dumps({keys[0]: patient, keys[1]: scan, "slice_list": []}) for scan, patient in patients.items()]
    (root / "annotion_file_info.jsonl").write_text("\n".join(lines) + "\n")


def write_source(tmp_path: Path) -> Path:
    """Write ``source/`` with four scans in the published folders and lists, and an empty ``raw/`` beside it."""
    root = tmp_path / "source"
    for split, scans in SCANS.items():
        for scan in scans:
            save(root / split / "image" / f"{scan}.nii.gz")
            save(root / split / "label" / f"{scan}.nii.gz", mask=True)
    # the tables carry another split than the folders, as the published ones do
    for split, scans in (("train", ["00000000c1", "00000000a1"]), ("val", ["00000000a2"]), ("test", ["00000000b1"])):
        rows = "".join(f"{scan},{CLASSES[scan]}\n" for scan in scans)
        (root / f"{split}_set.csv").write_text(f"filename,label\n{rows}")
    write_patients(root, {"00000000a1": "ID_1", "00000000a2": "ID_2", "00000000b1": "ID_3", "00000000c1": "ID_4"})
    (tmp_path / "raw").mkdir()
    return root


def run(source: Path, **options: object) -> Path:
    """Convert it and return the dataset's folder."""
    chosen = ConversionOptions(overwrite=bool(options.pop("overwrite", False)), progress=False, num_workers=1)
    return convert(source, source.parent / "raw", dataset_id=200, options=chosen, **options).folder  # type: ignore[arg-type]


def report(folder: Path) -> dict:
    """Return what the conversion reports."""
    return read_json(folder / "conversion_report.json")


def faults(source: Path, **options: object) -> list[tuple[str, str]]:
    """Return code and file name of what is refused; nothing is written."""
    with pytest.raises(InputErrors) as caught:
        run(source, **options)
    assert list((source.parent / "raw").iterdir()) == []
    return [(error.code, Path(error.where).name) for error in caught.value.errors]
