"""The largest probability of a voxel, from the probabilities that nnU-Net keeps beside its masks."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.regions import FOREGROUND


def maximum_probabilities(
    path: Path, labels: Mapping[str, int | list[int]], regions: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """Return for each region the largest probability of a voxel to belong to it.

    Args:
        path: CASE.npz, written by prediction with --save_probabilities: "probabilities" (C, *S), a softmax over
            background and labels, or where labels are regions a sigmoid for each of them.
        labels: as in dataset.json.
        regions: name to mask values, "foreground" among them.

    Raises:
        InputError: the file is missing or damaged, or its channels do not fit the labels.
    """
    remedy = "predict again with --save_probabilities"
    try:
        with np.load(path) as archive:
            probabilities = archive["probabilities"]
    except FileNotFoundError as error:
        raise InputError("missing-file", path, "expected probabilities of voxels, found none", remedy) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        fault = f'expected an .npz file with "probabilities", got: {error}'
        raise InputError("bad-voxel-probabilities", path, fault, remedy) from error
    names = [name for name, value in labels.items() if name != "ignore" and value != 0]
    by_region = any(isinstance(value, list) for value in labels.values())
    channels = len(names) + (0 if by_region else 1)
    if len(probabilities) != channels or not probabilities.size:
        fault = f"expected {channels} channels for the labels {', '.join(names)}, got shape {probabilities.shape}"
        raise InputError("bad-voxel-probabilities", path, fault, remedy)
    largest: dict[str, float] = {}
    for region, values in regions.items():
        if not by_region:
            # the channels of a softmax are the mask values
            of_region = 1 - probabilities[0] if region == FOREGROUND else probabilities[list(values)].sum(axis=0)
        else:
            of_region = probabilities if region == FOREGROUND else probabilities[names.index(region)]
        largest[region] = float(np.clip(of_region.max(), 0.0, 1.0))
    return largest
