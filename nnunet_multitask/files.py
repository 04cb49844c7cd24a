"""Opening images, masks and JSON with every check, writing all or nothing, and finding datasets."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.nifti import MAX_SPACING_MM, read_bytes, read_nifti

logger = logging.getLogger(__name__)

MASK_ROUNDING = 1e-3  # float masks this near to an integer are repaired

_DATASET_NAME = re.compile(r"Dataset(\d{3})_(.+)")


# --- JSON ---------------------------------------------------------------------------------------------------------


def read_json(path: str | Path) -> Any:
    """Read strict JSON: UTF-8, no NaN, no key twice in one object.

    Raises:
        InputError: the file is missing, unreadable or no such JSON; the message gives line and column.
    """
    path = Path(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InputError("bad-json", path, f"expected strict JSON, got: {error}", "correct the file") from error


def write_json(path: str | Path, document: Any) -> None:
    """Write strict JSON (no NaN, indent 2, trailing newline), all or nothing.

    Raises:
        ValueError: the document holds NaN or infinity.
    """
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_schema(document: Any, schema_name: str, where: str | Path) -> None:
    """Check a JSON document against a JSON Schema that ships with the package.

    Args:
        document: the parsed JSON.
        schema_name: file name in ``nnunet_multitask/schemas``.
        where: the file, for messages.

    Raises:
        InputErrors: every place that does not fit.
    """
    import jsonschema

    schema_file = resources.files("nnunet_multitask") / "schemas" / schema_name
    validator = jsonschema.Draft202012Validator(json.loads(schema_file.read_text("utf-8")))
    errors = [_schema_error(error, schema_name, where) for error in validator.iter_errors(document)]
    if errors:
        raise InputErrors(errors)


def _schema_error(error: Any, schema_name: str, where: str | Path) -> InputError:
    place = "/".join(str(part) for part in error.absolute_path)
    fault = error.message if len(error.message) <= 300 else error.message[:300] + " ..."
    remedy = f"follow the schema {schema_name}"
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(error.schema.get("properties", {}))
        near = [
            f"{key!r}: did you mean {match!r}?"
            for key in error.instance
            if key not in known
            for match in difflib.get_close_matches(str(key), known, 1)
        ]
        remedy = " ".join(near) or f"known keys are {', '.join(known)}"
    return InputError("bad-document", f"{where}: {place}" if place else where, fault, remedy)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the constant {name}, which is no JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return result


# --- writing all or nothing ---------------------------------------------------------------------------------------


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file name beside ``path``; rename it to ``path`` on success, remove it on failure.

    The temporary name keeps the ending of the file, since image writers choose the format by it. Missing parent
    folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, remove it on failure.

    Args:
        path: the folder to appear.
        overwrite: replace an existing folder, after the new one is complete.

    Raises:
        InputError: the folder exists and may not be replaced.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError("already-exists", path, "expected no such folder, found one", "use --overwrite to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            replaced = _temporary_sibling(path)
            path.rename(replaced)
            temporary.rename(path)
            shutil.rmtree(replaced)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")


# --- images and masks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Volume:
    """One image or mask.

    Args:
        array: (Z, Y, X), the order in which nnU-Net's SimpleITKIO reads it.
        spacing_mm: distance of voxel centres along (z, y, x).
        affine: (4, 4), voxel index (x, y, z) to RAS+ millimetres, as in NIfTI.
        path: where it was read.
        repaired_voxels: voxels of a float mask that were rounded to the integer beside them.
    """

    array: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    path: Path
    repaired_voxels: int = 0

    def corners_mm(self) -> npt.NDArray[np.float64]:
        """Return the centres of the eight corner voxels in RAS+ millimetres, (8, 3)."""
        size = np.array(self.array.shape[::-1])
        corners = np.array(list(np.ndindex(2, 2, 2))) * (size - 1)
        return corners @ self.affine[:3, :3].T + self.affine[:3, 3]


def read_image(path: str | Path) -> Volume:
    """Read a 3-D image and refuse what nnU-Net would misread.

    NIfTI is read with nibabel's header classes from bytes that were read to the end of the gzip stream, whose checksum
    is compared; other formats that nnU-Net reads go through SimpleITK.

    Returns:
        The volume; integer types are kept, scaled images are float32 or float64.

    Raises:
        InputError: damaged file, unknown type, not 3-D, impossible spacing, sheared affine, voxels that are not finite.
    """
    volume = _read_volume(Path(path))
    _check_finite(volume)
    return volume


def read_mask(path: str | Path, allowed_labels: Collection[int] | None = None) -> Volume:
    """Read a 3-D mask of integers.

    Float values within 1e-3 of an integer are repaired and counted in ``repaired_voxels``.

    Args:
        path: the file.
        allowed_labels: the values that may occur, background among them; None allows every value from 0 on.

    Returns:
        The volume with an array of an integer type. An empty mask is valid.

    Raises:
        InputError: as for ``read_image``; also values that are no integers, negative, or not allowed.
    """
    volume = _read_volume(Path(path))
    repaired = 0
    array = volume.array
    if not np.issubdtype(array.dtype, np.integer):
        _check_finite(volume)
        rounded = np.rint(array)
        distance = np.abs(array - rounded)
        if distance.max() > MASK_ROUNDING:
            index = np.unravel_index(int(distance.argmax()), array.shape)
            raise InputError(
                "non-integer-mask",
                volume.path,
                f"expected integers, got {float(array[index]):.6g} at (z, y, x) = {_index(index)}",
                "export the mask without interpolation",
            )
        repaired = int(np.count_nonzero(distance))
        array = rounded.astype(np.int32)
    known = None if allowed_labels is None else set(allowed_labels)
    unknown = [
        f"{value} ({count} voxels)"
        for value, count in count_values(array).items()
        if value < 0 or (known is not None and value not in known)
    ]
    if unknown:
        expected = "values from 0 on" if known is None else f"the values {sorted(known)}"
        fault = f"expected {expected}, got {', '.join(unknown[:10])}"
        raise InputError("unknown-mask-value", volume.path, fault, "correct the mask or the labels of dataset.json")
    return Volume(array, volume.spacing_mm, volume.affine, volume.path, repaired)


def count_values(array: npt.NDArray[Any]) -> dict[int, int]:
    """Return how many voxels of an integer array (any shape) have each value that occurs, by value."""
    if array.size == 0:
        return {}
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        values, counts = np.unique(array, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # slice by slice: counting casts to eight bytes a voxel
    histogram = sum(np.bincount(part.ravel(), minlength=highest + 1) for part in array)
    return {value: int(count) for value, count in enumerate(np.asarray(histogram).tolist()) if count}


def check_same_geometry(a: Volume, b: Volume, tolerance_mm: float = 1e-3) -> None:
    """Check that two volumes lie on the same voxels of the patient.

    Raises:
        InputError: other shape, or corresponding corners further apart than ``tolerance_mm``.
    """
    if a.array.shape != b.array.shape:
        raise InputError(
            "shape-differs",
            b.path,
            f"expected the shape (z, y, x) {a.array.shape} of {a.path}, got {b.array.shape}",
            "export image and mask on the same grid",
        )
    distance = float(np.linalg.norm(a.corners_mm() - b.corners_mm(), axis=1).max())
    if distance > tolerance_mm:
        raise InputError(
            "geometry-differs",
            b.path,
            f"expected the geometry of {a.path} within {tolerance_mm} mm, got corners {distance:.4g} mm apart",
            "correct spacing, origin and direction of one of them",
        )


def _check_finite(volume: Volume) -> None:
    if not np.issubdtype(volume.array.dtype, np.floating):
        return
    bad = ~np.isfinite(volume.array)
    count = int(np.count_nonzero(bad))
    if count:
        index = np.unravel_index(int(bad.argmax()), bad.shape)
        raise InputError(
            "not-finite",
            volume.path,
            f"expected finite voxels, got {count} NaN or infinite, the first at (z, y, x) = {_index(index)}",
            "replace them, for example by -1000 outside a CT",
        )


def _index(index: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in index)


def _read_volume(path: Path) -> Volume:
    if path.name.endswith((".nii.gz", ".nii")):
        return _volume(*read_nifti(path), path)
    return _read_itk(path)


def _read_itk(path: Path) -> Volume:
    import SimpleITK as sitk

    read_bytes(path, limit=1)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            "unreadable-image", path, f"expected an image, got: {reason}", "export the file again"
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        shape = f"{image.GetDimension()} dimensions, {image.GetNumberOfComponentsPerPixel()} components"
        raise InputError("not-3d", path, f"expected a 3-D image of one component, got {shape}", "one file a channel")
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return _volume(sitk.GetArrayFromImage(image), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, path)


def _volume(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> Volume:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (spacing > 0).all() and (spacing <= MAX_SPACING_MM).all()):
        fault = f"expected (x, y, z) spacing in 0 to {MAX_SPACING_MM:g} mm, got {spacing.tolist()}"
        raise InputError("bad-spacing", path, fault, "correct the header")
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-4:
        raise InputError(
            "sheared-affine",
            path,
            "expected axes at right angles, got a sheared affine",
            "resample to an orthogonal grid",
        )
    x, y, z = (float(value) for value in spacing)
    return Volume(array, (z, y, x), affine, path)


# --- folders ------------------------------------------------------------------------------------------------------


def list_cases(folder: str | Path, file_ending: str) -> dict[str, Path]:
    """Return the files of a folder with one file a case (masks), by case id in sorted order.

    Hidden files and other endings are passed over; an empty folder gives an empty dict.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("missing-folder", folder, "expected a folder, found none", "check the path")
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(file_ending))
    return {name[: -len(file_ending)]: folder / name for name in names if not name.startswith(".")}


def list_image_channels(folder: str | Path, file_ending: str) -> dict[str, list[Path]]:
    """Return the images ``CASE_0000``, ``CASE_0001``, ... of a folder by case id, channels in order.

    Raises:
        InputError: there is no such folder.
        InputErrors: file names without a channel number, or a case whose channels are not 0000, 0001, ...
    """
    cases: dict[str, list[Path]] = {}
    errors = []
    for stem, path in list_cases(folder, file_ending).items():
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        if match is None:
            fault = f"expected CASE_0000{file_ending}, got no channel number"
            errors.append(InputError("bad-image-name", path, fault, "rename it"))
            continue
        channels = cases.setdefault(match[1], [])
        if int(match[2]) != len(channels):
            fault = f"expected the channel {len(channels):04d} of case {match[1]}, got {match[2]}"
            errors.append(InputError("missing-channel", path, fault, "add or rename the channels"))
        channels.append(path)
    if errors:
        raise InputErrors(errors)
    return cases


def find_dataset(folder: str | Path, name_or_id: str | int) -> Path:
    """Return the folder of a dataset inside ``nnUNet_raw`` or ``nnUNet_preprocessed``.

    Args:
        folder: the folder that holds the datasets.
        name_or_id: ``Dataset042_Name``, or 42.

    Raises:
        InputError: no dataset of that name or id, or several of that id.
    """
    folder = Path(folder)
    wanted = str(name_or_id)
    present = sorted(path.name for path in folder.iterdir() if path.is_dir() and _DATASET_NAME.fullmatch(path.name))
    if wanted.isdigit():
        found = [name for name in present if int(name[7:10]) == int(wanted)]
    else:
        found = [name for name in present if name == wanted]
    if len(found) == 1:
        return folder / found[0]
    if found:
        fault = f"expected one dataset with the id {wanted}, got {', '.join(found)}"
        raise InputError("duplicate-dataset-id", folder, fault, "give the full name")
    fault = f"expected the dataset {wanted}, found {', '.join(present) or 'none'}"
    raise InputError("missing-dataset", folder, fault, "check name or id, and whether the step before has run")


def required_folder(variable: str) -> Path:
    """Return the folder that an environment variable names, ``nnUNet_raw`` for example.

    Raises:
        InputError: the variable is unset, or names no folder.
    """
    value = os.environ.get(variable, "")
    remedy = f"set it: export {variable}=/path/to/{variable}"
    if not value:
        raise InputError("unset-variable", f"environment variable {variable}", "expected a folder, it is unset", remedy)
    if not Path(value).is_dir():
        fault = f"expected a folder, got {value}, which is none"
        raise InputError("unset-variable", f"environment variable {variable}", fault, f"make the folder, or {remedy}")
    return Path(value)
