"""The pixels of a stack, one slice a position: repeated files are found, images that contradict each other refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.dataset_conversion.dicom_geometry import POSITION_TOLERANCE_MM, StackGeometry
from nnunet_multitask.dataset_conversion.dicom_headers import SliceHeader
from nnunet_multitask.dataset_conversion.dicom_pixels import Slice, read_slice
from nnunet_multitask.dataset_conversion.dicom_series import SAME_POSITION_MM, Stack, positions_along_normal
from nnunet_multitask.errors import InputError, InputErrors


@dataclass(frozen=True)
class LoadedStack:
    """The slices of a stack, one a position, with their pixels.

    Args:
        headers: in the order of their positions.
        pixels: of each.
        geometry: of all.
        duplicates: the files that were left out because they repeat a slice.
        inputs: every file that was read with its SHA-256.
    """

    headers: tuple[SliceHeader, ...]
    pixels: tuple[Slice, ...]
    geometry: StackGeometry
    duplicates: tuple[SliceHeader, ...]
    inputs: Mapping[Path, str]


def load_stack(stack: Stack) -> LoadedStack:
    """Read the pixels of a stack, one slice a position.

    Raises:
        InputErrors: slices whose pixels cannot be read.
        InputError: images at one position that are not the same.
    """
    pixels: list[Slice] = []
    errors = []
    for header in stack.slices:
        try:
            pixels.append(read_slice(header.path, header.modality))
        except InputError as error:
            errors.append(error)
    if errors:
        raise InputErrors(errors)
    inputs = {header.path: one.sha256 for header, one in zip(stack.slices, pixels, strict=True)}
    depths = positions_along_normal(stack.slices)
    kept, duplicates = [0], []
    for index in range(1, len(pixels)):
        previous = kept[-1]
        if depths[index] - depths[index - 1] > SAME_POSITION_MM:
            kept.append(index)
            continue
        a, b = stack.slices[previous], stack.slices[index]
        if not np.allclose(a.position_mm, b.position_mm, rtol=0, atol=POSITION_TOLERANCE_MM) or not np.array_equal(
            pixels[previous].array, pixels[index].array
        ):
            fault = f"expected one image at each position, got another one than {a.path} at the same height"
            raise InputError("ambiguous-slices", b.path, fault, "keep one of the two, in a folder of its own")
        duplicates.append(b)
    headers = tuple(stack.slices[index] for index in kept)
    one_kind = np.result_type(*(pixels[index].array for index in kept))
    return LoadedStack(
        headers,
        tuple(_as_kind(pixels[index], one_kind) for index in kept),
        StackGeometry.of(headers),
        tuple(duplicates),
        inputs,
    )


def _as_kind(pixels: Slice, kind: np.dtype[Any]) -> Slice:
    kind = np.dtype(np.float32) if kind == np.float64 else kind  # of int32 beside float32
    return pixels if pixels.array.dtype == kind else replace(pixels, array=pixels.array.astype(kind))
