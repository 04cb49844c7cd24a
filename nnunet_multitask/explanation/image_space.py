"""From the grid that the network saw back to the voxels of the image file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume

Reorder = Callable[[NDArray[Any]], NDArray[Any]]

# the orientations to which readers of nnU-Net turn an image; None: as it lies in the file
_ORIENTATIONS = (None, "RAS", "LPS")


def to_read_image(
    values: NDArray[np.float32], properties: Mapping[str, Any], plans: Any, configuration: Any
) -> NDArray[np.float32]:
    """Bring a map from the preprocessed grid to that of the image as nnU-Net's reader gave it.

    As nnU-Net does with the probabilities of its segmentation: resampled linearly by its own function, put back where
    the image was cropped (0 outside), transposed back.

    Args:
        values: (z, y, x), 0 or more.
        properties: of the case, as preprocessing filled them.
        plans, configuration: nnU-Net's managers.

    Returns:
        (Z, Y, X) in the order of the reader.
    """
    cropped = properties["shape_after_cropping_and_before_resampling"]
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    now = configuration.spacing if len(configuration.spacing) == len(cropped) else [spacing[0], *configuration.spacing]
    resampled = configuration.resampling_fn_probabilities(values[None], cropped, now, spacing)
    whole = np.zeros(properties["shape_before_cropping"], np.float32)
    box = tuple(slice(*bounds) for bounds in properties["bbox_used_for_cropping"])
    whole[box] = np.maximum(np.asarray(resampled[0], np.float32), 0)
    return np.ascontiguousarray(whole.transpose(plans.transpose_backward))


def file_order(read: NDArray[Any], image: Volume) -> Reorder:
    """Return what turns arrays from the order of nnU-Net's reader into that of the file.

    Args:
        read: the first channel as nnU-Net's reader gave it.
        image: the same file, read by `read_image`.

    Raises:
        InputError: the two hold other voxels than each other, in whatever orientation.
    """
    for orientation in _ORIENTATIONS:
        turn = _turned_from(orientation, image.affine)
        found = turn(read)
        if found.shape == image.array.shape and np.allclose(found, image.array, rtol=1e-4, atol=1e-4):
            return turn
    raise InputError(
        "unsupported-reader",
        image.path,
        "expected nnU-Net's reader to give the voxels of the file, got others",
        "use SimpleITKIO or NibabelIO: overwrite_image_reader_writer in dataset.json",
    )


def _turned_from(orientation: str | None, affine: NDArray[np.float64]) -> Reorder:
    if orientation is None:
        return lambda array: array
    here = nibabel.orientations.axcodes2ornt(tuple(orientation))
    turn = nibabel.orientations.ornt_transform(here, nibabel.orientations.io_orientation(affine))

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(nibabel.orientations.apply_orientation(array.transpose(2, 1, 0), turn).transpose(2, 1, 0))

    return turned
