"""Where a training patch was cut: nnU-Net's data loader, which also tells the axial slices that each patch shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import LabelSidecar, slice_count_faults

SLICES = "slices"  # key of a batch: integers (B, 2), first slice and the one behind the last, of the original image

_LOADER = "nnUNetDataLoader"  # the name by which nnU-Net's method looks it up


class SliceTellingLoader(nnUNetDataLoader):
    """nnU-Net's loader with one more key in its batches, ``SLICES``.

    A slice counts as shown where its centre lies inside the cut: the middle of the sampled box, as large as the patch
    that the network gets. Augmentation then rotates and scales the content about that middle, which is not followed.

    Args:
        axial_axis: axis of the preprocessed array along which the axial slices of the image lie.
        args, kwargs: those of nnU-Net's loader.
    """

    def __init__(self, *args: Any, axial_axis: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.axial_axis = axial_axis
        self._lower_bounds: list[Sequence[int]] = []
        self._geometry: dict[str, tuple[int, int, int]] = {}

    def get_bbox(self, *args: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        """Return nnU-Net's box, and keep it."""
        lower, upper = super().get_bbox(*args, **kwargs)
        self._lower_bounds.append(lower)
        return lower, upper

    def generate_train_batch(self) -> dict[str, Any]:
        """Return nnU-Net's batch with the slices of each of its patches."""
        self._lower_bounds = []
        batch: dict[str, Any] = super().generate_train_batch()
        axis = self.axial_axis
        size = int(self.final_patch_size[axis])
        margin = (int(self.patch_size[axis]) - size) // 2
        batch[SLICES] = np.array(
            [
                slices_inside(int(lower[axis]) + margin, size, *self._geometry_of(str(case_id)))
                for case_id, lower in zip(batch["keys"], self._lower_bounds, strict=True)
            ]
        )
        return batch

    def _geometry_of(self, case_id: str) -> tuple[int, int, int]:
        """Return, along the axial axis, the preprocessed length, that before resampling, and the cropping's offset."""
        if case_id not in self._geometry:
            data, _, _, properties = self._data.load_case(case_id)
            self._geometry[case_id] = (
                int(data.shape[1 + self.axial_axis]),
                int(properties["shape_after_cropping_and_before_resampling"][self.axial_axis]),
                int(properties["bbox_used_for_cropping"][self.axial_axis][0]),
            )
        return self._geometry[case_id]


def slices_inside(start: int, size: int, resampled: int, cropped: int, offset: int) -> tuple[int, int]:
    """Return the slices of the original image whose centres lie inside a cut of the preprocessed one.

    Args:
        start: first voxel of the cut along the axial axis; negative where the patch is padded.
        size: voxels of the cut.
        resampled: length of the preprocessed image along that axis.
        cropped: its length after cropping and before resampling.
        offset: slices that the cropping took off in front.

    Returns:
        First slice and the one behind the last, in the array order of the original image. A cut too thin to hold the
        centre of a slice shows the one that it lies in.
    """
    scale = cropped / resampled
    low, high = (min(max(edge, 0), resampled) * scale for edge in (start, start + size))
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if first >= last:
        first = min(int((low + high) / 2), cropped - 1)
        last = first + 1
    return offset + first, offset + last


def check_slices(
    sidecar: LabelSidecar, datasets: Iterable[Any], transpose_forward: Sequence[int], where: str | Path
) -> None:
    """Refuse labels of slices that are not as many as the image has: patches would get those of other slices.

    Args:
        sidecar: its slices.
        datasets: nnU-Net's, of training and validation cases.
        transpose_forward: as for ``telling_slices``.
        where: the sidecar's file, for messages.

    Raises:
        InputErrors: each case of which the number differs.
    """
    axis = list(transpose_forward).index(0)
    num_slices = {
        case_id: int(dataset.load_case(case_id)[3]["shape_before_cropping"][axis])
        for dataset in datasets
        for case_id in dict.fromkeys(dataset.identifiers)
        if sidecar.cases[case_id].slices
    }
    if faults := slice_count_faults(sidecar, num_slices, where):
        raise InputErrors(faults)


@contextmanager
def telling_slices(get_dataloaders: Callable[..., Any], transpose_forward: Sequence[int]) -> Iterator[None]:
    """Let a trainer's ``get_dataloaders`` make loaders of this file while the block runs.

    The method looks its loader up as a global of its module; there is no other place to put one in.

    Args:
        get_dataloaders: the method of nnU-Net's trainer, or of a subclass.
        transpose_forward: the plans' order of axes; preprocessed axis i is axis ``transpose_forward[i]`` of the image.

    Raises:
        InputError: the method looks up no such name.
    """
    names: Mapping[str, Any] = getattr(get_dataloaders, "__func__", get_dataloaders).__globals__
    if not isinstance(names, dict) or names.get(_LOADER) is not nnUNetDataLoader:
        raise InputError(
            "unsupported-loader",
            f"trainer: {getattr(get_dataloaders, '__qualname__', get_dataloaders)}",
            f"expected nnU-Net's own {_LOADER}, since cases have labels per slice, found another loader",
            "build on a trainer that keeps nnU-Net's loader, or remove the slices from the sidecar",
        )
    names[_LOADER] = partial(SliceTellingLoader, axial_axis=list(transpose_forward).index(0))
    try:
        yield
    finally:
        names[_LOADER] = nnUNetDataLoader
