"""The files that joint prediction writes beside the masks: ``classification.json`` and ``classification.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.documents import check_schema, read_json, write_json
from nnunet_multitask.files import ENDINGS, read_mask
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.labels import Target

CLASSIFICATION_JSON = "classification.json"
THRESHOLD = 0.5


def write_classification(
    folder: Path,
    name: str,
    model: Mapping[str, Any],
    targets: Mapping[str, Target],
    predictions: Mapping[str, CasePrediction],
    records: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the classification of the cases whose masks lie in ``folder``, as JSON and as CSV.

    Args:
        folder: the folder of the masks.
        name: file name, ending in ``.json``; the CSV has the same stem.
        model: what predicted them.
        targets: the targets, by name.
        predictions: the new predictions, by case.
        records: records of cases that were predicted before, kept as they are.
        dataset_json: the model's, for file ending and mask labels. Masks of a format that `read_mask` does not know
            are not measured.
        known: what else is known of the new cases: ``fold`` and ``reference`` of an out-of-fold table.
    """
    cases = dict(records)
    ending = str(dataset_json["file_ending"])
    for case_id, prediction in predictions.items():
        mask = folder / f"{case_id}{ending}"
        cases[case_id] = {
            "targets": {
                target.name: target_record(
                    target,
                    prediction.probabilities[target.name],
                    prediction.by_fold[target.name].std(axis=0) if len(prediction.by_fold[target.name]) > 1 else None,
                )
                for target in targets.values()
            },
            "labels": measure_mask(mask, mask_values(dataset_json)) if ending.endswith(ENDINGS) else {},
            "seconds": round(prediction.seconds, 3),
            **(known or {}).get(case_id, {}),
        }
    document = {
        "version": 1,
        "model": dict(model),
        "targets": {target.name: {"type": target.type, "classes": list(target.classes)} for target in targets.values()},
        "cases": dict(sorted(cases.items())),
    }
    write_table((folder / name).with_suffix(".csv"), document)
    write_json(folder / name, document)  # last: where it is, all is


def read_records(path: Path) -> dict[str, Any]:
    """Return the records of an earlier ``classification.json`` by case; none where there is no file."""
    if not path.is_file():
        return {}
    document = read_json(path)
    check_schema(document, "classification.json", path)
    records: dict[str, Any] = document["cases"]
    return records


def target_record(target: Target, probabilities: np.ndarray, fold_spread: np.ndarray | None) -> dict[str, Any]:
    """Return what ``classification.json`` says of one target of one case.

    Args:
        target: the target.
        probabilities: (outputs,).
        fold_spread: standard deviation over folds, (outputs,); None with one fold.

    Returns:
        Probability and fold spread of each class (both of a binary target), the decision, and the threshold that it
        was made with: 0.5 for binary and multilabel, null for multiclass, whose decision is the most probable class.
    """
    values = [round(float(value), 6) for value in probabilities]
    spreads: list[float | None] = (
        [None] * len(values) if fold_spread is None else [round(float(v), 6) for v in fold_spread]
    )
    if target.type == "binary":
        values, spreads = [round(1 - values[0], 6), values[0]], [spreads[0], spreads[0]]
    decision: str | list[str]
    if target.type == "multilabel":
        decision = [name for name, value in zip(target.classes, values, strict=True) if value >= THRESHOLD]
    elif target.type == "binary":
        decision = target.classes[int(values[1] >= THRESHOLD)]
    else:
        decision = target.classes[int(np.argmax(values))]
    return {
        "probabilities": dict(zip(target.classes, values, strict=True)),
        "decision": decision,
        "threshold": None if target.type == "multiclass" else THRESHOLD,
        "calibrated": False,
        "fold_spread": dict(zip(target.classes, spreads, strict=True)),
    }


def mask_values(dataset_json: Mapping[str, Any]) -> list[int]:
    """Return the foreground values that a predicted mask can hold, in order."""
    if "regions_class_order" in dataset_json:
        return sorted({int(value) for value in dataset_json["regions_class_order"]})
    return sorted({int(v) for k, v in dataset_json["labels"].items() if k not in ("background", "ignore")} - {0})


def without_labels(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``dataset.json`` by which no mask is measured: of a model that only classifies, 0 mL says nothing."""
    return {**dataset_json, "labels": {}, "regions_class_order": []}


def measure_mask(path: Path, values: list[int]) -> dict[str, dict[str, float | int]]:
    """Measure a mask.

    Args:
        path: the mask.
        values: the foreground values to measure.

    Returns:
        By value, as text: ``volume_ml``, and the number of connected ``components`` (26-connected in 3D).
    """
    volume = read_mask(path)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    measures: dict[str, dict[str, float | int]] = {}
    for value in values:
        where = volume.array == value
        _, components = ndimage.label(where, structure=np.ones((3,) * where.ndim))
        measures[str(value)] = {"volume_ml": round(float(where.sum()) * voxel_ml, 4), "components": int(components)}
    return measures


def write_table(path: Path, document: Mapping[str, Any]) -> None:
    """Write a ``classification.json`` as CSV, one row a case; of an out-of-fold table with fold and true labels."""
    records = document["cases"].values()
    out_of_fold = any("fold" in record for record in records)
    labels = sorted({value for record in records for value in record.get("labels", {})}, key=int)
    header = ["case_id", *(["fold"] if out_of_fold else [])]
    for name, target in document["targets"].items():
        header += [f"{name}_reference"] if out_of_fold else []
        header += [f"{name}_decision", *(f"{name}_probability_{class_name}" for class_name in target["classes"])]
    for value in labels:
        header += [f"label_{value}_volume_ml", f"label_{value}_components"]
    rows = []
    for case_id, case in document["cases"].items():
        row = [case_id, *([case.get("fold")] if out_of_fold else [])]
        for name, target in document["targets"].items():
            record = case["targets"][name]
            row += [_text_of(case.get("reference", {}).get(name))] if out_of_fold else []
            row.append(_text_of(record["decision"]))
            row += [f"{record['probabilities'][class_name]:.6f}" for class_name in target["classes"]]
        for value in labels:
            measured = case.get("labels", {}).get(value, {"volume_ml": 0.0, "components": 0})
            row += [f"{measured['volume_ml']:.4f}", str(measured["components"])]
        seconds = case.get("seconds")
        rows.append([*row, None if seconds is None else f"{seconds:.3f}"])
    write_csv(path, [*header, "seconds"], rows)


def _text_of(label: str | list[str] | None) -> str | None:
    return ";".join(label) if isinstance(label, list) else label
