"""Images that a prediction is asked for, looked at before the network starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import ENDINGS, Volume, check_same_geometry, read_image
from nnunet_multitask.plausibility import intensity_warning

logger = logging.getLogger(__name__)

NUM_THREADS = 4  # unpacking and checking leave Python's lock


def check_folders(source: str | Path, output: str | Path) -> None:
    """Refuse to write masks or maps among the images, where the next command would take them for images.

    Raises:
        InputError: both are the same folder.
    """
    if Path(source).resolve() == Path(output).resolve():
        fault = f"expected another folder than that of the images, got {source} for both"
        raise InputError("same-folder", "-o", fault, "name another folder")


def check_images(cases: Mapping[str, Sequence[str | Path]], channel_names: Sequence[str]) -> None:
    """Read every image once and refuse what nnU-Net would misread: a truncated scan becomes zeros there.

    Doubtful images, such as a CT without Hounsfield units, are named in the log.

    Args:
        cases: the channels of each case, in order. Files of formats other than ``files.ENDINGS`` need
            only be there.
        channel_names: as in dataset.json.

    Raises:
        InputErrors: every fault of every image, another number of channels than the model has, and channels of one case
            that lie on different voxels.
    """

    def check(case: tuple[str, Sequence[str | Path]]) -> tuple[list[InputError], list[InputError]]:
        return _check_case(case[0], [Path(path) for path in case[1]], channel_names)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        found = list(pool.map(check, cases.items()))
    for _, warnings in found:
        for warning in warnings:
            logger.warning("WARN %s", warning)
    errors = [error for errors, _ in found for error in errors]
    if errors:
        raise InputErrors(errors)


def check_array(case_id: str, array: NDArray[Any], spacing: Sequence[float], channel_names: Sequence[str]) -> None:
    """Refuse an array that nnU-Net would stumble over, or predict without a word.

    Args:
        case_id: its name.
        array: (C, Z, Y, X).
        spacing: in mm along (z, y, x).
        channel_names: as in dataset.json.

    Raises:
        InputError: another shape, no voxel, voxels that are not finite, no three lengths above 0.
    """
    where, shape = f"case {case_id}", np.shape(array)
    if len(shape) != 4 or shape[0] != len(channel_names) or 0 in shape:
        fault = f"expected an array ({len(channel_names)}, Z, Y, X) of the channels {', '.join(channel_names)}"
        raise InputError("bad-array", where, f"{fault}, got the shape {shape}", "give all channels as one array")
    if not np.isfinite(array).all():
        remedy = "replace them, for example by -1000 outside a CT"
        raise InputError("not-finite", where, "expected finite voxels, got NaN or infinite ones", remedy)
    if len(spacing) != 3 or not all(0 < length < np.inf for length in spacing):
        fault = f"expected three lengths in mm along (z, y, x), got {tuple(spacing)}"
        raise InputError("bad-spacing", where, fault, "correct them")


def check_previous_stage(previous: str | None, folder: str | Path | None, masks: Sequence[str | Path] = ()) -> None:
    """Refuse a cascade that was not given the masks of its previous stage.

    Args:
        previous: name of the previous stage, None where there is none.
        folder: the folder that was given, None where none was.
        masks: the masks that are needed.

    Raises:
        InputError: no folder, masks that are not there, or a folder where there is no previous stage.
    """
    if previous is None:
        if folder is not None:  # nnU-Net would give them to a network that has no channels for them
            fault = f"expected it for the second stage of a cascade, got {folder} for a network that sees images alone"
            raise InputError("needless-option", "-prev_stage_predictions", fault, "leave it out")
        return
    missing = [Path(mask).name for mask in masks if not Path(mask).is_file()]
    if folder is None or missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            "missing-previous-stage",
            folder or "-prev_stage_predictions",
            f"expected the mask of {previous} for every case, got none{f' for {named}' if named else ''}",
            f"predict the same images with {previous} first, and name its output by -prev_stage_predictions",
        )


def _check_case(
    case_id: str, paths: Sequence[Path], channel_names: Sequence[str]
) -> tuple[list[InputError], list[InputError]]:
    errors: list[InputError] = []
    warnings: list[InputError] = []
    first: Volume | None = None
    if len(paths) != len(channel_names):
        fault = f"expected {len(channel_names)} channels ({', '.join(channel_names)}), got {len(paths)}"
        errors.append(InputError("wrong-channels", f"case {case_id}", fault, "give all channels of the model"))
    for path, name in zip(paths, channel_names, strict=False):
        if not path.name.endswith(ENDINGS):
            if not path.is_file():
                errors.append(InputError("missing-file", path, "expected a file, found none", "check the path"))
            continue
        try:
            image = read_image(path)
            warnings += image.warnings
            doubt = intensity_warning(image, name)
            warnings += [doubt] if doubt is not None else []
            first = first or image
            check_same_geometry(first, image)
        except InputError as error:
            errors.append(error)
    return errors, warnings
