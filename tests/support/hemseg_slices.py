"""Masks of HemSeg without images, and the DICOM slices of which the images are rebuilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from nnunet_multitask.dataset_conversion.hemseg200 import HemSegOptions, convert
from nnunet_multitask.dataset_conversion.sources import Conversion, ConversionOptions

ROWS, COLUMNS, DEPTH = 8, 6, 5
FEED_MM = 5.3375483  # of the table; cos 20.5 degrees times that is 5 mm, as in a published scan
SPACING = (0.48828125, 0.5)  # of rows and of columns

TILTS = {"aaaaaaaaa1": 20.5, "aaaaaaaaa2": 0.0, "bbbbbbbbb1": 27.0, "ccccccccc1": 15.0}
SPLIT_OF = {"aaaaaaaaa1": "train", "aaaaaaaaa2": "train", "bbbbbbbbb1": "val", "ccccccccc1": "test"}
CLASS_OF = {"aaaaaaaaa1": 0, "aaaaaaaaa2": 1, "bbbbbbbbb1": 1, "ccccccccc1": 0}

Write = Callable[..., Path]


def slice_names(scan: str) -> list[str]:
    """Return the names of a scan's slices from its first to its last, in no order of their own."""
    return [f"{scan[0]}{scan[-1]}{position:07x}" for position in np.random.default_rng(len(scan)).permutation(DEPTH)]


def directions(tilt: float) -> np.ndarray:
    """Row, column and normal of a tilted gantry as columns, LPS."""
    angle = np.radians(tilt)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    return np.column_stack((row, column, np.cross(row, column)))


def hu(scan: str) -> np.ndarray:
    """Voxels (Z, Y, X) in the order of the mask: every one tells where it lies."""
    array = np.indices((DEPTH, ROWS, COLUMNS)) * np.array([100, 10, 1])[:, None, None, None]
    return (array.sum(axis=0) - 1000 + 10 * "abc".index(scan[0]) + int(scan[-1])).astype(np.int16)


def mask_affine(tilt: float) -> np.ndarray:
    """As ITK writes the series: the plane as direction, the feed of the table as spacing; RAS."""
    affine = np.eye(4)
    affine[:3, :3] = directions(tilt) * (SPACING[1], SPACING[0], FEED_MM)
    affine[:3, 3] = (-125, -120.5, 7.25)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_mask(path: Path, tilt: float, depth: int = DEPTH, dtype: type = np.int16, qform_only: bool = False) -> None:
    """Write a published mask: twelve voxels on the planes of the slices."""
    array = np.zeros((COLUMNS, ROWS, depth), dtype)
    array[2:5, 3:5, 1:3] = 1
    image = nibabel.Nifti1Image(array, None)
    image.set_qform(mask_affine(tilt), code=1)
    image.set_sform(None if qform_only else mask_affine(tilt), code=0 if qform_only else 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def write_list(root: Path, lines: list[dict], name: str = "annotion_file_info.jsonl") -> None:
    """Write the list of slices, an entry a line."""
    (root / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_list(root: Path) -> list[dict]:
    """Return the entries of the list."""
    return [json.loads(line) for line in (root / "annotion_file_info.jsonl").read_text().splitlines()]


def write_source(tmp_path: Path, write_dicom: Write) -> Path:
    """Masks, tables, the list and a flat folder of slices, with the headers that the challenge's files have."""
    root = tmp_path / "source"
    lines = []
    for scan, tilt in TILTS.items():
        names = slice_names(scan)
        for name, array, position in zip(names, hu(scan), range(DEPTH), strict=True):
            write_dicom(
                tmp_path / "rsna" / f"ID_{name}.dcm",
                array + 1024,
                (-125, -120.5, 7.25 + FEED_MM * position),  # the table moves, not the plane
                tuple(directions(tilt)[:, :2].T.ravel()),
                PixelSpacing=[str(value) for value in SPACING],
                RescaleIntercept="-1024",
                SOPClassUID=None,  # it stands in the file's meta information only
                SOPInstanceUID=f"ID_{name}",
                StudyInstanceUID=f"ID_{scan}",
                SeriesInstanceUID=f"ID_5e{scan}",
                PatientID=f"ID_p{scan}",
                InstanceNumber=None,
            )
        lines.append({"patient": f"ID_p{scan}", "scan_": scan, "slice_list": names[::-1]})
        write_mask(root / SPLIT_OF[scan] / "label" / f"{scan}.nii.gz", tilt)
    for split in ("train", "val", "test"):
        rows = "".join(f"{scan},{CLASS_OF[scan]}\n" for scan in TILTS if SPLIT_OF[scan] == split)
        (root / f"{split}_set.csv").write_text(f"filename,label\n{rows}")
    write_list(root, lines)
    (tmp_path / "raw").mkdir()
    return root


def run(source: Path, options: ConversionOptions | None = None, **particular: object) -> Conversion:
    """Convert it with images rebuilt from the slices."""
    hemseg = HemSegOptions(**{"rsna_dicom": source.parent / "rsna", **particular})  # type: ignore[arg-type]
    options = options or ConversionOptions(progress=False, num_workers=1)
    return convert(source, source.parent / "raw", dataset_id=200, hemseg=hemseg, options=options)


def dicom(source: Path, scan: str, position: int) -> Path:
    """Return the file of the slice at a position."""
    return source.parent / "rsna" / f"ID_{slice_names(scan)[position]}.dcm"
