"""Tiles in the voxels of the image that was predicted, and what they say of its slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_multitask.inference.aggregation import Floats, aggregate
from nnunet_multitask.inference.reporting import Reporting, class_probabilities
from nnunet_multitask.inference.tiles import CaseTiles


def image_boxes(tiles: CaseTiles, properties: Mapping[str, Any], transpose_backward: Sequence[int]) -> Floats:
    """Return the boxes of tiles in voxels of the image file, (T, 3, 2), axes in array order (z, y, x).

    Args:
        tiles: their boxes lie in the preprocessed volume: transposed, cropped, resampled.
        properties: nnU-Net's, of the case.
        transpose_backward: of the plans.
    """
    scale = np.asarray(properties["shape_after_cropping_and_before_resampling"]) / np.asarray(tiles.shape)
    crop = np.asarray(properties["bbox_used_for_cropping"])
    boxes = tiles.boxes * scale[None, :, None] + crop[None, :, :1]
    return np.asarray(boxes[:, list(transpose_backward)])


def slice_values(
    reporting: Reporting, tiles: CaseTiles, boxes: Floats, num_slices: int
) -> dict[str, list[dict[str, float] | None]]:
    """Return the class probabilities of each axial slice: those of the tiles that hold its centre, aggregated.

    A tile of a 2d model is a slice, so that this is the slice's own probability. A slice of a 3d model gets what the
    tiles saw of which it is a part: neighbours look alike over the depth of a tile.

    Args:
        reporting: targets, aggregation and calibration, which are those of the case.
        tiles: of the case.
        boxes: in the voxels of the image, (T, 3, 2).
        num_slices: of the image, along the first axis.

    Returns:
        By target an entry for each slice; None for a slice without a tile, which lies outside the part of the image
        that nnU-Net predicts.
    """
    found: dict[str, list[dict[str, float] | None]] = {name: [] for name in reporting.targets}
    for index in range(num_slices):
        here = (boxes[:, 0, 0] <= index + 0.5) & (index + 0.5 < boxes[:, 0, 1])
        for name, target in reporting.targets.items():
            if not here.any():
                found[name].append(None)
                continue
            outputs = np.mean(
                [
                    aggregate(
                        reporting.aggregations[name],
                        target,
                        fold.probabilities[name][here].mean(axis=1),
                        fold.weights.select(here),
                    )
                    for fold in tiles.folds
                ],
                axis=0,
            )
            found[name].append(class_probabilities(target, outputs, reporting.calibration_of(name)))
    return found


def tiles_document(reporting: Reporting, tiles: CaseTiles, boxes: Floats) -> dict[str, Any]:
    """Return the content of the file of a case's tiles: box, weights, and the probabilities that the network gave.

    Args:
        reporting: the targets.
        tiles: of the case; what is told is the mean over folds and mirrorings, not calibrated.
        boxes: in the voxels of the image, (T, 3, 2).
    """
    foreground = np.mean([fold.weights.foreground_voxels for fold in tiles.folds], axis=0)
    importance = tiles.folds[0].weights.importance
    outputs = {
        name: np.mean([fold.probabilities[name].mean(axis=1) for fold in tiles.folds], axis=0)
        for name in reporting.targets
    }
    return {
        "aggregation": dict(reporting.aggregations),
        "tiles": [
            {
                "box": np.round(box, 2).tolist(),
                "foreground_voxels": round(float(foreground[index]), 3),
                "importance_voxels": round(float(importance[index]), 3),
                "probabilities": {
                    name: class_probabilities(target, outputs[name][index], None)
                    for name, target in reporting.targets.items()
                },
            }
            for index, box in enumerate(boxes)
        ],
    }
