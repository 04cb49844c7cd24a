"""What an evaluation of folders says of classes: the head's scores, those of the mask alone, and the gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import classification, gate, mask_rules
from nnunet_multitask.evaluation.aggregation import CaseScores
from nnunet_multitask.evaluation.calibration import calibrate_classification, fingerprint, read_calibration
from nnunet_multitask.evaluation.decision_checks import decision_mismatches
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, Classification, read_classification
from nnunet_multitask.evaluation.regions import FOREGROUND, Regions
from nnunet_multitask.evaluation.voxel_probabilities import maximum_probabilities
from nnunet_multitask.labels import LabelSidecar

logger = logging.getLogger(__name__)

DEFINITIONS = {
    "classification": classification.DEFINITIONS,
    "mask_classification": mask_rules.DEFINITIONS,
    "gate": gate.DEFINITIONS,
}
QUALITY = ("brier", "log_loss")


@dataclass(frozen=True)
class ClassOptions:
    """How classes are evaluated.

    Args:
        classification: predicted probabilities; by default classification.json among the predictions, if there is one.
        calibration: calibration.json of the model, which is applied first.
        operating_point: rule of the calibration whose threshold decides, for example "youden".
        gate: "TARGET" or "TARGET=NEGATIVE CLASS": what clearing the masks of scans called negative would change.
        folds: by case, the fold that predicted it; thresholds of volumes are fitted on the other folds. By default
            those in the classification.
        voxel_probabilities: score the largest probability of a voxel, too, from the CASE.npz beside the masks.
    """

    classification: Path | None = None
    calibration: Path | None = None
    operating_point: str | None = None
    gate: str | None = None
    folds: Mapping[str, int | str] = field(default_factory=dict)
    voxel_probabilities: bool = False


@dataclass(frozen=True)
class ClassEvaluation:
    """What is known before any mask is read: predictions, their scores, how they were calibrated."""

    predicted: Classification | None
    scores: dict[str, Any]
    calibration: dict[str, Any] | None
    warnings: tuple[InputError, ...] = ()


def score_classes(
    prediction_dir: Path, sidecar: LabelSidecar | None, case_ids: Sequence[str], options: ClassOptions
) -> ClassEvaluation:
    """Read, calibrate and score predicted classes; this refuses what is wrong before the long part begins.

    Args:
        prediction_dir: where classification.json is looked for.
        sidecar: the true labels; without them nothing is scored.
        case_ids: the cases that are scored.
        options: see `ClassOptions`.

    Raises:
        InputError, InputErrors: a file that was named without the sidecar it needs, and what `read_classification`,
            `calibrate_classification` and `score_cases` refuse.
    """
    path = options.classification
    if path is None and (prediction_dir / CLASSIFICATION_NAME).is_file():
        path = prediction_dir / CLASSIFICATION_NAME
    if sidecar is None and options.classification is not None:
        raise InputError(
            "missing-sidecar",
            options.classification,
            "expected the class labels of the cases too, got probabilities only",
            "name the sidecar with --labels class_labels.json",
        )
    needed = [name for name in ("calibration", "operating_point", "gate") if getattr(options, name)]
    if needed and path is None:
        raise InputError(
            "missing-classification",
            prediction_dir,
            f"expected {CLASSIFICATION_NAME} for --{needed[0].replace('_', '-')}, found none",
            "name it with --classification, or leave the option away",
        )
    if options.operating_point and options.calibration is None:
        fault = "expected --calibration beside --operating-point, got none"
        raise InputError("missing-calibration", "arguments", fault, "name the calibration.json of the model")
    if path is None or (sidecar is None and not needed):
        return ClassEvaluation(None, {}, None)
    predicted, calibration = read_classification(path), None
    if options.calibration is not None:
        found = read_calibration(options.calibration)
        before, predicted = predicted, calibrate_classification(predicted, found, options.operating_point)
        known = [case_id for case_id in case_ids if fingerprint(case_id) in found.fitted_on]
        calibration = {
            "file": str(options.calibration),
            "operating_point": options.operating_point,
            "in_sample_cases": len(known),
            "before": {} if sidecar is None else _quality(before, sidecar, case_ids),
        }
        if known:
            logger.warning(
                "WARN [calibrated-in-sample] %s: %d of %d cases were used to fit it (%s): calibration error and "
                "operating point look better than they are",
                options.calibration,
                len(known),
                len(case_ids),
                ", ".join(known[:5]) + (", ..." if len(known) > 5 else ""),
            )
    if options.gate is not None:
        gate.check_gate(predicted, *gate.parse_gate(options.gate))
    scores = {} if sidecar is None else classification.score_cases(predicted, sidecar, case_ids)
    return ClassEvaluation(predicted, scores, calibration, tuple(decision_mismatches(predicted, case_ids)))


def _quality(predicted: Classification, sidecar: LabelSidecar, case_ids: Sequence[str]) -> dict[str, Any]:
    """Return, by target, how good probabilities were before they were calibrated, with their reliability curves."""
    scores = classification.score_cases(predicted, sidecar, case_ids, resamples=1)  # no intervals are kept
    return {
        target: {
            **{name: value for name, value in score.items() if name in QUALITY or name.startswith("ece_")},
            "reliability": {label: entry["reliability"] for label, entry in score["per_class"].items()},
        }
        for target, score in scores.items()
    }


def score_masks_as_classes(
    found: ClassEvaluation,
    sidecar: LabelSidecar | None,
    cases: CaseScores,
    regions: Regions,
    options: ClassOptions,
    maxima: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Return what the masks say of the classes, and what the classes would do to the masks.

    Args:
        found: what `score_classes` returned.
        sidecar: the true labels; without them there are no rules.
        cases: scores of the masks by case and region.
        regions: which mask values are which region.
        options: see `ClassOptions`.
        maxima: what `read_maxima` returned.

    Returns:
        "mask_classification" by target, "gate" (None unless asked for), "calibration" (None without one).
    """
    folds = options.folds or (found.predicted.folds if found.predicted is not None else {})
    heads: dict[str, dict[str, Any]] = {}
    if found.predicted is not None:
        for case_id, entry in found.predicted.cases.items():
            for name, prediction in entry.items():
                heads.setdefault(name, {})[case_id] = prediction.probabilities
    by_rule: dict[str, Any] = {}
    if sidecar is not None:
        for name, target in sidecar.targets.items():
            by_rule[name] = mask_rules.score_mask_rules(
                target, sidecar, cases, regions.values, folds=folds, head=heads.get(name), maxima=maxima
            )
    return {
        "mask_classification": by_rule,
        "gate": None
        if options.gate is None or found.predicted is None
        else _gate(found.predicted, sidecar, cases, regions, options.gate),
        "calibration": found.calibration,
    }


def _gate(
    predicted: Classification, sidecar: LabelSidecar | None, cases: CaseScores, regions: Regions, question: str
) -> dict[str, Any]:
    """Return `gate_document` with "negative_region", and warn where it is one: that class is a lesion itself."""
    document = gate.gate_document(predicted, cases, *gate.parse_gate(question))
    name, negative = document["target"], document["negative"]
    target = (sidecar.targets if sidecar is not None else {}).get(name, predicted.targets[name])
    region = None if negative is None else mask_rules.regions_of_classes(target, regions.values).get(negative)
    # all foreground stands for the second of two classes that no region tells apart, which says nothing of lesions
    document["negative_region"] = None if region == FOREGROUND else region
    if document["negative_region"] is not None:
        logger.warning(
            "WARN [gate-clears-lesions] --gate %s: expected a class without a lesion, but %s has the region %s: "
            "the gate clears masks of scans that have a lesion; name the class of healthy scans",
            question,
            negative,
            document["negative_region"],
        )
    return document


def read_maxima(
    prediction_dir: Path,
    case_ids: Sequence[str],
    labels: Mapping[str, int | list[int]],
    regions: Regions,
    *,
    num_workers: int = 1,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Return the largest probability of a voxel by case and region, from CASE.npz beside the masks.

    Args:
        prediction_dir: where the files are.
        case_ids: the cases.
        labels: as in dataset.json.
        regions: of these labels.
        num_workers, progress: see `map_in_order`.

    Raises:
        InputErrors: every missing or damaged file.
    """
    read = partial(_read_maximum, labels=dict(labels), regions=dict(regions.values))
    paths = [prediction_dir / f"{case_id}.npz" for case_id in case_ids]
    results = list(
        map_in_order(read, paths, num_workers=num_workers, description="reading probabilities", progress=progress)
    )
    errors = [result for result in results if isinstance(result, InputError)]
    if errors:
        raise InputErrors(errors)
    return {case_id: r for case_id, r in zip(case_ids, results, strict=True) if not isinstance(r, InputError)}


def _read_maximum(
    path: Path, labels: Mapping[str, int | list[int]], regions: Mapping[str, tuple[int, ...]]
) -> dict[str, float] | InputError:
    try:
        return maximum_probabilities(path, labels, regions)
    except InputError as error:
        return error
