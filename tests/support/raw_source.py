"""Small cases and sources for the writer of raw datasets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.sources import ConversionOptions, LoadedCase, Source, SourceCase
from nnunet_multitask.files import read_image, read_mask
from nnunet_multitask.labels import Case, Target

SHAPE = (6, 5, 4)  # (x, y, z)
AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])
KIND = Target("kind", "multiclass", ("IPH", "IVH"))
QUIET = ConversionOptions(progress=False, num_workers=1)


def save(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64] = AFFINE) -> Path:
    """Write an array (X, Y, Z) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def ct(number: int) -> npt.NDArray[np.int16]:
    """Return a scan (X, Y, Z) whose slices differ; no two numbers give the same."""
    return np.full(SHAPE, -1000, np.int16) + np.arange(SHAPE[2], dtype=np.int16) + np.int16(10 * number)


def blood() -> npt.NDArray[np.uint8]:
    """Return a mask (X, Y, Z) of one voxel."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 1, 3] = 1
    return mask


def make_case(root: Path, number: int, **changes: Any) -> SourceCase:
    """Write image and mask of ``case_N`` and return the case, of the class N mod 2."""
    case_id = f"case_{number}"
    image = save(root / "images" / f"{case_id}.nii.gz", ct(number))
    mask = save(root / "labels" / f"{case_id}.nii.gz", blood())
    labels = {"kind": KIND.classes[number % 2]}
    return replace(SourceCase(case_id, (image,), mask, Case(labels, group=f"p{number}")), **changes)


def make_source(root: Path, *cases: SourceCase, **changes: Any) -> Source:
    """Return a source of head CT with these cases."""
    source = Source("test", root, cases, {"kind": KIND}, {"hemorrhage": 1}, ("CT",))
    return replace(source, **changes)


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Reader:
    """Reads a case as if its volumes were made here, brighter by ``offset``."""

    offset: int = 0
    mask_value: int = 1

    def __call__(self, case: SourceCase) -> LoadedCase:
        image = read_image(case.images[0])
        assert case.mask is not None
        mask = read_mask(case.mask)
        inputs = {volume.path: volume.sha256 for volume in (image, mask)}
        image = replace(image, array=image.array + np.int16(self.offset), changed=True)
        mask = replace(mask, array=mask.array.astype(np.int32) * self.mask_value, changed=True)
        taught = replace(case.case, attributes={"age_years": 33})
        return LoadedCase((image,), mask, inputs, ("a slice was rebuilt",), ("it was odd",), taught)
