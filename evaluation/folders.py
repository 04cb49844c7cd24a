"""Scoring a folder of predicted masks against a folder of references."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask import __version__
from nnunet_multitask.datasets import list_cases
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import classification as classification_metrics
from nnunet_multitask.evaluation import segmentation
from nnunet_multitask.evaluation.aggregation import EMPTY_POLICY, diagonal, summarise
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, Classification, read_classification
from nnunet_multitask.evaluation.regions import Regions
from nnunet_multitask.evaluation.segmentation import segmentation_metrics
from nnunet_multitask.files import check_same_geometry, read_mask
from nnunet_multitask.labels import LabelSidecar

logger = logging.getLogger(__name__)

EVALUATION_VERSION = 1
OTHER_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif", ".tiff", ".png")


@dataclass(frozen=True)
class _Task:
    case_id: str
    reference: Path
    prediction: Path | None
    regions: Regions
    tolerance_mm: float


def evaluate_folders(
    reference_dir: str | Path,
    prediction_dir: str | Path,
    *,
    labels: Mapping[str, int | list[int]],
    file_ending: str = ".nii.gz",
    sidecar: LabelSidecar | None = None,
    classification: str | Path | None = None,
    num_workers: int = 1,
    progress: bool = False,
    tolerance_mm: float = 1e-3,
) -> dict[str, Any]:
    """Score every reference mask against the prediction of the same name.

    Args:
        reference_dir: masks CASE + file_ending; they say which cases are scored.
        prediction_dir: predicted masks of the same names. A missing one counts as an empty mask, an extra one is
            listed and not scored.
        labels: name to mask value, or values of a region, as in dataset.json. All together are scored as "foreground";
            voxels whose reference has the value of "ignore" are not scored.
        file_ending: ending of the masks.
        sidecar: class labels of the cases; without them no classification is scored.
        classification: predicted probabilities; by default classification.json in prediction_dir, where there is one.
        num_workers: processes; 1 works in this one.
        progress: show a progress bar on standard error.
        tolerance_mm: how far corresponding corners of two masks may lie apart.

    Returns:
        The document of evaluation.json (schemas/evaluation.json), ready for strict JSON.

    Raises:
        InputError, InputErrors: folders without cases, unreadable masks, unknown mask values, other geometry, bad
            probabilities. All cases are looked at before.
    """
    regions = Regions.from_labels(labels)
    references = list_cases(reference_dir, file_ending)
    predictions = list_cases(prediction_dir, file_ending)
    _check_folders(Path(reference_dir), references, Path(prediction_dir), predictions, file_ending)
    scored_classes = _classification(
        references, prediction_dir, sidecar, classification
    )  # refuses before the long part

    tasks = [_Task(name, path, predictions.get(name), regions, tolerance_mm) for name, path in references.items()]
    results = list(map_in_order(_score_case, tasks, num_workers=num_workers, description="scoring", progress=progress))
    errors = [result for result in results if isinstance(result, InputError)]
    if errors:
        raise InputErrors(errors)

    geometry, cases = {}, {}
    for task, result in zip(tasks, results, strict=True):
        assert not isinstance(result, InputError)
        geometry[task.case_id], cases[task.case_id] = result
    diagonals = {case_id: entry["diagonal_mm"] for case_id, entry in geometry.items()}
    flow = _case_flow(references, predictions, Path(prediction_dir), file_ending)
    return {
        "version": EVALUATION_VERSION,
        "software": software_versions(),
        "definitions": {
            "segmentation": segmentation.DEFINITIONS,
            "classification": classification_metrics.DEFINITIONS,
        },
        "empty_policy": dict(EMPTY_POLICY),
        "reference": str(reference_dir),
        "prediction": str(prediction_dir),
        "labels": {name: list(values) for name, values in regions.values.items()},
        "case_flow": flow,
        "geometry": geometry,
        "cases": cases,
        "summary": {name: summarise(cases, diagonals, name) for name in regions.values},
        "classification": scored_classes,
    }


def software_versions() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    versions = {"nnunet-multitask": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "scikit-learn"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _check_folders(
    reference_dir: Path,
    references: Mapping[str, Path],
    prediction_dir: Path,
    predictions: Mapping[str, Path],
    file_ending: str,
) -> None:
    if not references:
        raise InputError(
            "no-references", reference_dir, f"expected masks ending in {file_ending}, found none", "check the path"
        )
    if not set(references) & set(predictions):
        others = sorted(path.name for path in prediction_dir.iterdir())[:5]
        raise InputError(
            "no-predictions",
            prediction_dir,
            f"expected masks such as {next(iter(references))}{file_ending}, found {', '.join(others) or 'nothing'}",
            "check path, names and file ending",
        )


def _case_flow(
    references: Mapping[str, Path], predictions: Mapping[str, Path], prediction_dir: Path, file_ending: str
) -> dict[str, Any]:
    missing = sorted(set(references) - set(predictions))
    extra = sorted(set(predictions) - set(references))
    other = sorted(
        path.name
        for path in prediction_dir.iterdir()
        if path.name.endswith(OTHER_ENDINGS) and not path.name.endswith(file_ending) and not path.name.startswith(".")
    )
    for code, names, meaning in (
        ("missing-prediction", missing, "no prediction: counted as missed"),
        ("extra-prediction", extra, "no reference: not scored"),
        ("other-ending", other, f"not ending in {file_ending}: not scored"),
    ):
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            logger.warning("WARN [%s] %s: %d with %s (%s)", code, prediction_dir, len(names), meaning, shown)
    return {
        "reference": len(references),
        "predicted": len(references) - len(missing),
        "missing_predictions": missing,
        "extra_predictions": extra,
        "other_endings": other,
    }


def _classification(
    references: Mapping[str, Path],
    prediction_dir: str | Path,
    sidecar: LabelSidecar | None,
    path: str | Path | None,
) -> dict[str, Any]:
    if sidecar is None:
        if path is not None:
            raise InputError(
                "missing-sidecar",
                path,
                "expected the class labels of the cases too, got probabilities only",
                "name the sidecar with --labels class_labels.json",
            )
        return {}
    found: Classification | None = None
    if path is not None or (Path(prediction_dir) / CLASSIFICATION_NAME).is_file():
        found = read_classification(path or Path(prediction_dir) / CLASSIFICATION_NAME)
    if found is None:
        return {}
    return classification_metrics.score_cases(found, sidecar, list(references))


def _score_case(task: _Task) -> tuple[dict[str, Any], dict[str, Any]] | InputError:
    """Return geometry and scores by region of one case, or the fault that forbids to score it."""
    try:
        reference = read_mask(task.reference, task.regions.allowed_in_reference)
        predicted: np.ndarray = np.zeros((1,) * reference.array.ndim, dtype=np.uint8)
        if task.prediction is not None:
            prediction = read_mask(task.prediction, task.regions.allowed_in_prediction)
            check_same_geometry(reference, prediction, task.tolerance_mm)
            predicted = prediction.array
    except InputError as error:
        return error
    predicted = np.broadcast_to(predicted, reference.array.shape)
    if task.regions.ignore is not None:
        predicted = np.where(reference.array == task.regions.ignore, 0, predicted)
    spacing_mm = reference.spacing_mm
    scores = {
        name: segmentation_metrics(
            task.regions.mask(reference.array, name), task.regions.mask(predicted, name), spacing_mm=spacing_mm
        ).to_json()
        for name in task.regions.values
    }
    geometry = {
        "shape": list(reference.array.shape),
        "spacing_mm": list(spacing_mm),
        "diagonal_mm": diagonal(reference.array.shape, spacing_mm),
        "prediction": "found" if task.prediction is not None else "missing",
    }
    return geometry, scores
