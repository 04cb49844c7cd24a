"""Scoring a folder of predicted masks against a folder of references."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from nnunet_multitask import __version__
from nnunet_multitask.datasets import list_cases
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import aggregation, diameters, lesions, segmentation, slices, volumes
from nnunet_multitask.evaluation.aggregation import empty_policy, summarise
from nnunet_multitask.evaluation.class_evaluation import DEFINITIONS as CLASS_DEFINITIONS
from nnunet_multitask.evaluation.class_evaluation import (
    ClassOptions,
    read_maxima,
    score_classes,
    score_masks_as_classes,
)
from nnunet_multitask.evaluation.label_agreement import reference_contradictions
from nnunet_multitask.evaluation.levels import patient_of
from nnunet_multitask.evaluation.regions import FOREGROUND, Regions
from nnunet_multitask.evaluation.same_masks import same_masks
from nnunet_multitask.evaluation.scoring import DEFINITIONS as SCORING_DEFINITIONS
from nnunet_multitask.evaluation.scoring import CaseScore, CaseTask, ScoringOptions, score_case
from nnunet_multitask.evaluation.slices import slice_questions
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.targets import Label

logger = logging.getLogger(__name__)

Missing = Literal["missed", "stop"]

EVALUATION_VERSION = 1
OTHER_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif", ".tiff", ".png")


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
    nsd_tolerance_mm: float = segmentation.DEFAULT_NSD_TOLERANCE_MM,
    both_empty: segmentation.BothEmpty = "undefined",
    lesion_rule: str = lesions.ANY_OVERLAP,
    missing: Missing = "missed",
    classes: ClassOptions | None = None,
    case_ids: Collection[str] | None = None,
) -> dict[str, Any]:
    """Score every reference mask against the prediction of the same name.

    Args:
        reference_dir: masks CASE + file_ending; they say which cases are scored.
        prediction_dir: predicted masks of the same names. An extra one is listed and not scored.
        labels: name to mask value, or values of a region, as in dataset.json. All together are scored as "foreground";
            voxels whose reference has the value of "ignore" are not scored.
        file_ending: ending of the masks.
        sidecar: class labels of the cases; without them no classification is scored.
        classification: predicted probabilities; by default classification.json in prediction_dir, where there is one.
        num_workers: processes; 1 works in this one.
        progress: show a progress bar on standard error.
        tolerance_mm: how far corresponding corners of two masks may lie apart.
        nsd_tolerance_mm, both_empty: see `segmentation_metrics`.
        lesion_rule: when a lesion counts as found: "any", "dsc>=T" or "iou>=T"; see `lesions`.
        missing: what a missing prediction is: "missed", scored as an empty mask, or a reason to "stop".
        classes: calibration, gate and more, beside `classification`.
        case_ids: the cases that are scored; None: all that have a reference.

    Returns:
        The document of evaluation.json (schemas/evaluation.json), ready for strict JSON.

    Raises:
        InputError, InputErrors: folders without cases, unreadable masks, unknown mask values, other geometry, bad
            probabilities, missing predictions where they stop. All cases are looked at before.
        ValueError: an option is none of those named.
    """
    regions = Regions.from_labels(labels)
    options = ScoringOptions(tolerance_mm, nsd_tolerance_mm, both_empty, lesion_rule)
    references = list_cases(reference_dir, file_ending)
    known = set(references)
    predictions = list_cases(prediction_dir, file_ending)
    if case_ids is not None:
        left_out = references.keys() - set(case_ids)
        references = {name: path for name, path in references.items() if name not in left_out}
        predictions = {name: path for name, path in predictions.items() if name not in left_out}
    _check_folders(Path(reference_dir), references, Path(prediction_dir), predictions, file_ending)
    if missing == "stop":
        _check_complete(references, predictions, Path(prediction_dir), file_ending)
    class_options = classes or ClassOptions()
    if classification is not None:
        class_options = replace(class_options, classification=Path(classification))
    # both refuse before the long part
    found_classes = score_classes(Path(prediction_dir), sidecar, list(references), class_options)
    maxima = None
    if class_options.voxel_probabilities:
        predicted_ids = [case_id for case_id in references if case_id in predictions]
        maxima = read_maxima(
            Path(prediction_dir), predicted_ids, labels, regions, num_workers=num_workers, progress=progress
        )
        # a missing prediction counts as an empty mask
        maxima |= {case_id: dict.fromkeys(regions.values, 0.0) for case_id in references if case_id not in predictions}

    questions = slice_questions(sidecar, regions)
    tasks = [
        CaseTask(name, path, predictions.get(name), regions, options, _slices(sidecar, name), questions)
        for name, path in references.items()
    ]
    results = list(map_in_order(score_case, tasks, num_workers=num_workers, description="scoring", progress=progress))
    errors = [error for result in results if isinstance(result, list) for error in result]
    if errors:
        raise InputErrors(errors)

    scored = {
        task.case_id: result for task, result in zip(tasks, results, strict=True) if isinstance(result, CaseScore)
    }
    geometry = {case_id: score.geometry for case_id, score in scored.items()}
    cases = {case_id: score.regions for case_id, score in scored.items()}
    if all(entry[FOREGROUND]["status"] == segmentation.NOT_ANNOTATED for entry in cases.values()):
        fault = "expected a mask with annotated voxels, found every voxel of every mask ignored"
        raise InputError("no-references", reference_dir, fault, "name masks that somebody has drawn")
    same = same_masks(Path(reference_dir), references, Path(prediction_dir), predictions)
    warnings = [] if same is None else [same]
    warnings += [warning for score in scored.values() for warning in score.warnings]
    warnings += found_classes.warnings
    warnings += reference_contradictions(
        cases, regions.values, sidecar, [case_id for case_id, entry in geometry.items() if "ignored_voxels" in entry]
    )
    for warning in warnings:
        logger.warning("WARN %s", warning)
    diagonals = {case_id: entry["diagonal_mm"] for case_id, entry in geometry.items()}
    patients = None if sidecar is None else {case_id: patient_of(sidecar, case_id) for case_id in cases}
    predicted = found_classes.predicted
    unknown = [] if predicted is None else sorted(set(predicted.cases) - known)
    flow = _case_flow(references, predictions, Path(prediction_dir), file_ending, unknown)
    return {
        "version": EVALUATION_VERSION,
        "software": software_versions(),
        "definitions": {
            "segmentation": {
                **segmentation.definitions(nsd_tolerance_mm),
                **diameters.DEFINITIONS,
                **SCORING_DEFINITIONS,
            },
            "lesions": lesions.DEFINITIONS,
            "slices": slices.DEFINITIONS,
            "volumes": volumes.DEFINITIONS,
            "summary": aggregation.DEFINITIONS,
            **CLASS_DEFINITIONS,
        },
        "settings": {**asdict(options), "missing_predictions": missing},
        "empty_policy": empty_policy(both_empty),
        "reference": str(reference_dir),
        "prediction": str(prediction_dir),
        "labels": {name: list(values) for name, values in regions.values.items()},
        "case_flow": flow,
        "warnings": [str(warning) for warning in warnings],
        "geometry": geometry,
        "cases": cases,
        "summary": {name: summarise(cases, diagonals, name, patients) for name in regions.values},
        "classification": found_classes.scores,
        **score_masks_as_classes(found_classes, sidecar, cases, regions, class_options, maxima),
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


def _check_complete(
    references: Mapping[str, Path], predictions: Mapping[str, Path], prediction_dir: Path, file_ending: str
) -> None:
    errors = [
        InputError(
            "missing-prediction",
            prediction_dir / f"{name}{file_ending}",
            f"expected a prediction of {path}, found none",
            "predict it, or let missing predictions count as missed",
        )
        for name, path in references.items()
        if name not in predictions
    ]
    if errors:
        raise InputErrors(errors)


def _slices(sidecar: LabelSidecar | None, case_id: str) -> Mapping[str, tuple[Label | None, ...]]:
    if sidecar is None or case_id not in sidecar.cases:
        return {}
    return sidecar.cases[case_id].slices


def _case_flow(
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    prediction_dir: Path,
    file_ending: str,
    extra_classes: Sequence[str],
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
        ("extra-classification", list(extra_classes), "predicted classes and no reference: not scored"),
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
        "extra_classifications": list(extra_classes),
        "other_endings": other,
    }
