"""What is said of a case: probabilities, calibrated where they can be, decision, spread, agreement with the mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.calibration import Calibration, TargetCalibration, apply_calibration
from nnunet_multitask.evaluation.gate import is_negative, negative_class
from nnunet_multitask.evaluation.predictions import THRESHOLD, decide
from nnunet_multitask.inference.aggregation import Floats
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.measures import mask_agreement
from nnunet_multitask.labels import Label, Target


@dataclass(frozen=True)
class Reporting:
    """How predictions are reported.

    Attributes:
        targets: by name.
        calibration: that of the model; None: probabilities are reported as the model gives them.
        operating_points: by target the rule of the calibration whose threshold decides.
        gate: target and negative class (None of a multilabel target: no class at all) that clear the mask.
        aggregations: by target, the way in which tiles become a case.
        save_slices: report the probabilities of each slice, too.
        save_tiles: write a file with the tiles of each case.
        segments: False of a model that only classifies: its masks are empty, and are not measured.
    """

    targets: Mapping[str, Target]
    calibration: Calibration | None = None
    operating_points: Mapping[str, str] = field(default_factory=dict)
    gate: tuple[str, str | None] | None = None
    aggregations: Mapping[str, str] = field(default_factory=dict)
    save_slices: bool = False
    save_tiles: bool = False
    segments: bool = True

    def calibration_of(self, name: str) -> TargetCalibration | None:
        """Return the calibration of a target, None where there is none."""
        return None if self.calibration is None else self.calibration.targets.get(name)

    def thresholds_of(self, name: str) -> Mapping[str, float] | None:
        """Return the operating point of a target by class, None without one."""
        if self.calibration is None or name not in self.operating_points:
            return None
        return self.calibration.thresholds(name, self.operating_points[name])


def check_reporting(reporting: Reporting, trained: Mapping[str, str] | None = None) -> None:
    """Refuse what cannot be reported.

    Args:
        reporting: what is asked for.
        trained: by target the aggregation of the model, which its calibration was fitted on.

    Raises:
        InputError: a calibration of other classes or of another aggregation, an operating point or a gate without
            calibration, a rule that the calibration does not have, a gate without a negative class or without an
            operating point.
    """
    calibration = reporting.calibration
    for name, target in reporting.targets.items():
        known = reporting.calibration_of(name)
        if known is not None and (known.target.type, set(known.target.classes)) != (target.type, set(target.classes)):
            fault = f"expected {target.type} {', '.join(target.classes)}"
            got = f"got {known.target.type} {', '.join(known.target.classes)}"
            where = f"{calibration.path if calibration else ''}: target {name}"
            raise InputError(
                "classes-differ", where, f"{fault}, {got}", "calibrate this model, or use --no-calibration"
            )
        kind = reporting.aggregations.get(name)
        if known is not None and trained is not None and kind != trained[name]:
            fault = f"expected {trained[name]}, which the model's calibration was fitted on, got {kind}"
            remedy = "leave --aggregation away, or use --no-calibration"
            raise InputError("other-aggregation", f"--aggregation: target {name}", fault, remedy)
    for name, rule in reporting.operating_points.items():
        if reporting.calibration_of(name) is None:
            raise _uncalibrated(f"--operating-point {name}={rule}", name)
        reporting.thresholds_of(name)
    if reporting.gate is not None:
        name, negative = reporting.gate
        if name not in reporting.targets:
            fault = f"expected one of the targets {', '.join(reporting.targets)}, got {name}"
            raise InputError("bad-gate", f"--gate {name}", fault, "name one of them")
        negative_class(reporting.targets[name], negative)
        calibrated = reporting.calibration_of(name)
        if calibrated is None:
            raise _uncalibrated(f"--gate {name}", name)
        if calibrated.thresholds and name not in reporting.operating_points:
            fault = "expected an operating point for the target that clears masks, got none"
            raise InputError(
                "missing-operating-point",
                f"--gate {name}",
                fault,
                f"choose one, for example --operating-point {name}={next(iter(calibrated.thresholds))}",
            )


def case_record(
    reporting: Reporting,
    prediction: CasePrediction,
    dataset_labels: Mapping[str, int | list[int]],
    measures: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what ``classification.json`` says of a case.

    Args:
        reporting: how.
        prediction: what the network says.
        dataset_labels: of dataset.json, name to mask values.
        measures: of the predicted mask.
    """
    records = {}
    for name, target in reporting.targets.items():
        record = target_record(
            target,
            prediction.by_fold[name],
            prediction.by_mirror[name],
            reporting.calibration_of(name),
            reporting.operating_points.get(name),
        )
        record["mask_agreement"] = mask_agreement(target, _label(record["decision"]), dataset_labels, measures)
        records[name] = record
    return {"targets": records, "labels": dict(measures), "seconds": round(prediction.seconds, 3)}


def target_record(
    target: Target,
    by_fold: Floats,
    by_mirror: Floats,
    calibration: TargetCalibration | None = None,
    rule: str | None = None,
) -> dict[str, Any]:
    """Return what ``classification.json`` says of one target of one case.

    Args:
        target: the target.
        by_fold: what each fold gives, (folds, outputs).
        by_mirror: what each mirroring gives, (mirrors, outputs).
        calibration: of the target, applied where there is one.
        rule: of the calibration, whose threshold decides; by default 0.5, or the most probable of several classes.

    Returns:
        Of each class (both of a binary target) its probability, the mean over folds, and the standard deviation over
        folds and over mirrorings of the same probability; the decision, the threshold that it was made with and the
        rule of that.
    """
    probabilities = class_probabilities(target, by_fold.mean(axis=0), calibration)
    thresholds = None if calibration is None or rule is None else calibration.thresholds[rule]
    decision = decide(target, probabilities, thresholds)
    threshold: Any = None if target.type == "multiclass" else THRESHOLD
    if thresholds is not None:
        only = target.type == "binary" and list(thresholds) == [target.classes[1]]
        threshold = thresholds[target.classes[1]] if only else dict(thresholds)
    return {
        "probabilities": probabilities,
        "decision": decision if isinstance(decision, str) else list(decision),
        "threshold": threshold,
        "operating_point": rule,
        "calibrated": calibration is not None,
        "fold_spread": _spread(target, by_fold, calibration),
        "mirror_spread": _spread(target, by_mirror, calibration),
    }


def class_probabilities(target: Target, outputs: Floats, calibration: TargetCalibration | None) -> dict[str, float]:
    """Return the probability of each class, rounded to six digits; both classes of a binary target.

    Args:
        target: type and classes.
        outputs: of the network after softmax or sigmoid, (outputs,).
        calibration: applied where there is one.
    """
    values = [1 - float(outputs[0]), float(outputs[0])] if target.type == "binary" else [float(v) for v in outputs]
    found = dict(zip(target.classes, values, strict=True))
    if calibration is not None:
        found = apply_calibration(found, calibration)
    return {name: round(found[name], 6) for name in target.classes}


def is_gated(reporting: Reporting, record: Mapping[str, Any]) -> bool:
    """Tell whether the decision of a case clears its mask."""
    if reporting.gate is None:
        return False
    name, negative = reporting.gate
    negative = negative_class(reporting.targets[name], negative)
    return is_negative(_label(record["targets"][name]["decision"]), negative)


def _spread(target: Target, rows: Floats, calibration: TargetCalibration | None) -> dict[str, float | None]:
    if len(rows) < 2:
        return dict.fromkeys(target.classes)
    found = [class_probabilities(target, row, calibration) for row in rows]
    return {name: round(float(np.std([row[name] for row in found])), 6) for name in target.classes}


def _label(decision: str | Sequence[str]) -> Label:
    return decision if isinstance(decision, str) else tuple(decision)


def _uncalibrated(where: str, name: str) -> InputError:
    fault = f"expected a calibration of the target {name} in the model's folder, got none"
    return InputError("missing-calibration", where, fault, "run `nnunet-multitask calibrate`, or leave the option away")
