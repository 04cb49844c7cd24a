"""Folders of nnU-Net: the cases in a folder, a dataset by name or id, the folders that variables name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError, InputErrors

_DATASET_NAME = re.compile(r"Dataset(\d{3})_(.+)")


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


def training_images(folder: Path, dataset_json: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the images of the training cases, by case id in sorted order.

    They lie in ``imagesTr``, unless ``dataset.json`` names each file under the key ``dataset``, which nnU-Net allows.

    Args:
        folder: the raw dataset.
        dataset_json: its ``dataset.json``; it has a ``file_ending``.

    Raises:
        InputError: the folder is missing, or ``dataset`` has another form.
        InputErrors: images that are not named as nnU-Net expects.
    """
    if "dataset" not in dataset_json:
        return list_image_channels(folder / "imagesTr", dataset_json["file_ending"])
    return {case_id: images for case_id, (images, _) in _named_files(folder, dataset_json["dataset"]).items()}


def training_masks(folder: Path, dataset_json: Mapping[str, Any]) -> dict[str, Path]:
    """Return the masks of the training cases, by case id in sorted order; arguments as for ``training_images``.

    Raises:
        InputError: ``labelsTr`` is missing, or ``dataset`` has another form.
    """
    if "dataset" not in dataset_json:
        return list_cases(folder / "labelsTr", dataset_json["file_ending"])
    return {case_id: mask for case_id, (_, mask) in _named_files(folder, dataset_json["dataset"]).items()}


def _named_files(folder: Path, entries: Any) -> dict[str, tuple[list[Path], Path]]:
    try:
        return {
            case_id: (
                [folder / os.path.expandvars(name) for name in entry["images"]],
                folder / os.path.expandvars(entry["label"]),
            )
            for case_id, entry in sorted(entries.items())
        }
    except (AttributeError, KeyError, TypeError) as error:
        fault = 'expected {CASE: {"images": [...], "label": ...}}, got something else'
        raise InputError("bad-dataset-json", f"{folder / 'dataset.json'}: dataset", fault, "name each file") from error


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
        fault = f"expected a folder, no such folder: {value}"
        raise InputError("missing-folder", f"environment variable {variable}", fault, f"make the folder, or {remedy}")
    return Path(value)


def optional_folder(variable: str) -> Path | None:
    """Return the folder that an environment variable names, None where it is unset or names none."""
    value = os.environ.get(variable, "")
    return Path(value) if value and Path(value).is_dir() else None
