"""What a predicted mask holds, and whether it says the same as the decided class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.components import find_lesions
from nnunet_multitask.evaluation.mask_rules import regions_of_classes
from nnunet_multitask.evaluation.regions import Regions
from nnunet_multitask.files import ENDINGS, read_mask
from nnunet_multitask.labels import Label, Target

Measures = dict[str, dict[str, float | int]]

# class decided, region in the mask
_KINDS = {(True, True): "both", (True, False): "class_only", (False, True): "mask_only", (False, False): "neither"}


def mask_values(dataset_json: Mapping[str, Any]) -> list[int]:
    """Return the foreground values that a predicted mask can hold, in order."""
    if "regions_class_order" in dataset_json:
        return sorted({int(value) for value in dataset_json["regions_class_order"]})
    return sorted({int(v) for k, v in dataset_json["labels"].items() if k not in ("background", "ignore")} - {0})


def without_labels(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``dataset.json`` by which no mask is measured: of a model that only classifies, 0 mL says nothing."""
    return {**dataset_json, "labels": {}, "regions_class_order": []}


def measure_mask(path: Path, values: Sequence[int]) -> Measures:
    """Measure the mask in a file; as `measure_array`, and nothing of a format that `read_mask` does not know."""
    if not path.name.endswith(ENDINGS):
        return {}
    volume = read_mask(path)
    return measure_array(volume.array, volume.spacing_mm, values)


def measure_array(mask: NDArray[np.integer], spacing_mm: Sequence[float], values: Sequence[int]) -> Measures:
    """Measure a mask.

    Args:
        mask: (Z, Y, X).
        spacing_mm: distance of voxel centres along each axis.
        values: the foreground values to measure.

    Returns:
        By value, as text: ``voxels``, ``volume_ml``, and of the connected parts (26-connected) their number,
        ``components``, and the volume of the largest, ``largest_component_ml``.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    measures: Measures = {}
    for value in values:
        parts = find_lesions(mask == value).voxels
        measures[str(value)] = {
            "volume_ml": round(float(parts.sum()) * voxel_ml, 4),
            "voxels": int(parts.sum()),
            "components": len(parts),
            "largest_component_ml": round(float(parts.max(initial=0)) * voxel_ml, 4),
        }
    return measures


def mask_agreement(
    target: Target, decision: Label, labels: Mapping[str, int | list[int]], measures: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return whether the mask says of a target what was decided.

    Args:
        target: its ``present_if_label``, or else the names of its classes, tell which region belongs to a class; else
            all foreground means the second class of a binary target.
        decision: what was decided.
        labels: of dataset.json, name to mask values.
        measures: of the mask, as `measure_mask` returns them.

    Returns:
        Of binary and multilabel targets ``classes``: ``both``, ``class_only``, ``mask_only`` or ``neither`` for each
        class that a region tells by being there; of a multiclass target whose every class has a region ``mask``: the
        class whose region has the largest connected part, None where the mask is empty. Beside it ``agrees``. None
        where no region tells the target.
    """
    if not measures:
        return None
    regions = Regions.from_labels(labels).values
    places = {name: [str(v) for v in regions[region]] for name, region in regions_of_classes(target, regions).items()}
    places = {name: [v for v in values if v in measures] for name, values in places.items()}
    if not places or not all(places.values()):
        return None
    if target.type == "multiclass":
        if len(places) < len(target.classes) or any(len(values) > 1 for values in places.values()):
            return None
        sizes = {name: measures[values[0]]["largest_component_ml"] for name, values in places.items()}
        largest = max(target.classes, key=lambda name: sizes[name])
        found = largest if sizes[largest] > 0 else None
        return {"agrees": found == decision, "mask": found}
    decided = {decision} if isinstance(decision, str) else set(decision)
    kinds = {
        name: _KINDS[name in decided, any(measures[value]["voxels"] > 0 for value in values)]
        for name, values in places.items()
    }
    return {"agrees": set(kinds.values()) <= {"both", "neither"}, "classes": kinds}
