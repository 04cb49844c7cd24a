"""Which DICOM files belong together: series found in any folder, parted into stacks of parallel slices."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.dicom_headers import NoSlice, SliceHeader, read_header
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError

SAME_POSITION_MM = 0.01  # slices nearer to each other than this lie at one position

_FILES_PER_TASK = 64
_ORIENTATION_TOLERANCE = 1e-3  # of each direction cosine, within one stack


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one series on one matrix.

    Args:
        slices: in the order of their positions along the normal; slices at one position are neighbours.
        number: 1, 2, ... where the series has several stacks, else 0.
    """

    slices: tuple[SliceHeader, ...]
    number: int = 0

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID, which all slices share."""
        return self.slices[0].series_uid


@dataclass(frozen=True)
class Discovery:
    """What a folder holds.

    Args:
        stacks: the stacks with two positions or more, by the name of their first file.
        left_out: files that are no fault and yet not part of a stack.
        faults: files that should be part of one and cannot be read.
    """

    stacks: tuple[Stack, ...]
    left_out: tuple[NoSlice, ...]
    faults: tuple[InputError, ...]


def find_stacks(
    folder: Path, modalities: Sequence[str] = ("CT",), *, num_workers: int | None = None, progress: bool = True
) -> Discovery:
    """Read the header of every file below a folder, whatever its name, and sort what belongs together.

    Args:
        folder: searched with its subfolders; links to folders are not followed, nor are hidden files read.
        modalities: which are wanted.
        num_workers: processes, None for one a core.
        progress: show a progress bar.

    Returns:
        Stacks and everything else by name. A folder without files gives nothing.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError("missing-folder", folder, "expected a folder of DICOM files, found none", "check the path")
    paths = list(files_below(folder))
    chunks = [paths[start : start + _FILES_PER_TASK] for start in range(0, len(paths), _FILES_PER_TASK)]
    headers: list[SliceHeader] = []
    left_out: list[NoSlice] = []
    faults: list[InputError] = []
    read = partial(_read_headers, modalities=tuple(modalities))
    workers = 1 if len(chunks) < 4 else num_workers  # processes start slower than few headers are read
    for results in map_in_order(
        read,
        chunks,
        num_workers=workers,
        description="read headers",
        unit="batch",
        progress=progress,
    ):
        for result in results:
            if isinstance(result, SliceHeader):
                headers.append(result)
            elif isinstance(result, NoSlice):
                left_out.append(result)
            else:
                faults.append(result)
    stacks, alone = group_stacks(headers)
    return Discovery(tuple(stacks), (*left_out, *alone), tuple(faults))


def group_stacks(headers: Iterable[SliceHeader]) -> tuple[list[Stack], list[NoSlice]]:
    """Part slices by series, orientation, matrix and pixel spacing, and where positions repeat by acquisition.

    Args:
        headers: in any order; the result does not depend on it.

    Returns:
        The stacks, and the slices that are alone at their orientation: one slice is no volume.
    """
    stacks: list[Stack] = []
    alone: list[NoSlice] = []
    for series in _parted(sorted(headers, key=lambda header: header.path), lambda header: header.series_uid):
        parts = [part for same in _by_grid(series) for part in _by_acquisition(same)]
        whole = [part for part in parts if _num_positions(part) > 1]
        for part in parts:
            if _num_positions(part) == 1:
                fault = "it is the only slice of its orientation and matrix in its series"
                alone.extend(
                    NoSlice("single-slice", header.path, fault, "leave it out", header.series_uid) for header in part
                )
        numbers = range(1, len(whole) + 1) if len(whole) > 1 else [0]
        stacks.extend(Stack(tuple(part), number) for part, number in zip(whole, numbers, strict=False))
    return stacks, alone


def positions_along_normal(headers: Sequence[SliceHeader]) -> npt.NDArray[np.float64]:
    """Return where parallel slices lie along the normal of the first, (N,), in mm from the patient's origin."""
    return np.array([header.position_mm for header in headers]) @ headers[0].normal


def files_below(folder: Path) -> Iterable[Path]:
    """Yield every file of a folder and its subfolders by name, without those that are hidden."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)


def _read_headers(paths: Sequence[Path], modalities: Sequence[str]) -> list[SliceHeader | InputError]:
    results: list[SliceHeader | InputError] = []
    for path in paths:
        try:
            results.append(read_header(path, modalities))
        except InputError as error:
            results.append(error)
    return results


def _by_grid(series: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part slices of one series by orientation, matrix and pixel spacing, each part in order of position."""
    parts: list[list[SliceHeader]] = []
    for header in series:
        part = next((part for part in parts if _same_grid(part[0], header)), None)
        if part is None:
            parts.append([header])
        else:
            part.append(header)
    return [_in_order(part) for part in parts]


def _in_order(part: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Sort by position; at one position by instance number, then by name."""
    positions = positions_along_normal(part)
    bins = np.zeros(len(part), int)
    order = np.argsort(positions, kind="stable")
    bins[order[1:]] = np.cumsum(np.diff(positions[order]) > SAME_POSITION_MM)
    keys = [(bins[i], part[i].instance_number or 0, part[i].path) for i in range(len(part))]
    return [part[i] for i in sorted(range(len(part)), key=keys.__getitem__)]


def _same_grid(a: SliceHeader, b: SliceHeader) -> bool:
    return (
        a.shape == b.shape
        and a.modality == b.modality
        and np.allclose(a.pixel_spacing_mm, b.pixel_spacing_mm, rtol=1e-3, atol=0)
        and np.allclose(a.orientation, b.orientation, rtol=0, atol=_ORIENTATION_TOLERANCE)
    )


def _by_acquisition(part: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Part slices by acquisition number where that leaves one image at each position; else leave them together."""

    def is_plain(slices: Sequence[SliceHeader]) -> bool:
        return _num_positions(slices) == len({header.instance_uid for header in slices})

    acquisitions = list(_parted(part, lambda header: header.acquisition_number))
    if not is_plain(part) and all(is_plain(one) and len(one) > 1 for one in acquisitions):
        return acquisitions
    return [part]


def _num_positions(part: Sequence[SliceHeader]) -> int:
    return 1 + int(np.count_nonzero(np.diff(np.sort(positions_along_normal(part))) > SAME_POSITION_MM))


def _parted(headers: Iterable[SliceHeader], key: Callable[[SliceHeader], Hashable]) -> Iterable[list[SliceHeader]]:
    parts: dict[Hashable, list[SliceHeader]] = {}
    for header in headers:
        parts.setdefault(key(header), []).append(header)
    return parts.values()
