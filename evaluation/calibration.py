"""calibration.json: reading it, and applying its temperatures and thresholds to predicted probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.predictions import Classification, Prediction, Probabilities, decide
from nnunet_multitask.evaluation.temperature import scale_exclusive, scale_independent
from nnunet_multitask.targets import Target

CALIBRATION_NAME = "calibration.json"


@dataclass(frozen=True)
class TargetCalibration:
    """Temperature and thresholds of one target.

    Args:
        target: type and classes.
        temperatures: by class for a multilabel target; else the same number for every class.
        thresholds: by rule, then by class; of two exclusive classes that of the second. They hold for calibrated
            probabilities.
    """

    target: Target
    temperatures: Mapping[str, float]
    thresholds: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Calibration:
    """A whole calibration.json.

    Args:
        path: where it was read.
        targets: by name.
        fitted_on: fingerprints of the cases it was fitted on, see `fingerprint`.
        checkpoint_sha256: of the networks whose predictions it was fitted on, by fold; empty where it is not told.
        aggregation: by target how tiles became a case there; empty where it is not told.
        aggregation_sha256: of the aggregation.json that was fitted for it.
    """

    path: Path
    targets: Mapping[str, TargetCalibration]
    fitted_on: frozenset[str] = frozenset()
    checkpoint_sha256: Mapping[str, str] = field(default_factory=dict)
    aggregation: Mapping[str, str] = field(default_factory=dict)
    aggregation_sha256: str | None = None

    def thresholds(self, target_name: str, rule: str | None) -> Mapping[str, float] | None:
        """Return the operating point of a target by class; None without a rule.

        Raises:
            InputError: the target has no threshold by this rule.
        """
        if rule is None:
            return None
        known = self.targets[target_name].thresholds
        if rule not in known:
            fault = f"expected one of the rules {', '.join(known) or 'none'}, got {rule}"
            where = f"{self.path}: target {target_name}"
            raise InputError("unknown-rule", where, fault, "name one of these, or calibrate with --rules")
        return known[rule]


def read_calibration(path: str | Path) -> Calibration:
    """Read and check a calibration.json.

    Raises:
        InputError: the file is missing or is no strict JSON.
        InputErrors: every fault of shape (schemas/calibration.json), and every temperature or threshold of an unknown
            class.
    """
    path = Path(path)
    document = read_json(path)
    check_schema(document, CALIBRATION_NAME, path)
    targets, errors = {}, []
    for name, entry in document["targets"].items():
        target = Target(name=name, type=entry["type"], classes=tuple(entry["classes"]))
        temperature, thresholds = entry["temperature"], entry["thresholds"]
        by_class = {rule: _by_class(target, value) for rule, value in thresholds.items()}
        temperatures = temperature if isinstance(temperature, dict) else dict.fromkeys(target.classes, temperature)
        named = {*temperatures, *(class_name for values in by_class.values() for class_name in values)}
        if set(temperatures) != set(target.classes) or not named <= set(target.classes):
            fault = f"expected numbers of {', '.join(target.classes)}, got {', '.join(sorted(named))}"
            errors.append(InputError("bad-calibration", f"{path}: targets/{name}", fault, "calibrate again"))
        targets[name] = TargetCalibration(target, temperatures, by_class)
    if errors:
        raise InputErrors(errors)
    fitted_on = document["fitted_on"]
    return Calibration(
        path,
        targets,
        frozenset(fitted_on.get("case_fingerprints", ())),
        document.get("model", {}).get("checkpoint_sha256", {}),
        fitted_on.get("aggregation", {}),
        fitted_on.get("aggregation_sha256"),
    )


def apply_calibration(probabilities: Probabilities, calibration: TargetCalibration) -> dict[str, float]:
    """Return the calibrated probabilities of one case, by class.

    Args:
        probabilities: as the model gave them, by class; both classes of a binary target.
        calibration: of the target.
    """
    target = calibration.target
    values = np.array([[probabilities[name] for name in target.classes]], dtype=np.float64)
    if target.type == "multilabel":
        scaled = [
            float(scale_independent(values[:, index], calibration.temperatures[name])[0])
            for index, name in enumerate(target.classes)
        ]
    else:
        scaled = scale_exclusive(values, calibration.temperatures[target.classes[0]])[0].tolist()
    return dict(zip(target.classes, scaled, strict=True))


def calibrate_classification(predicted: Classification, calibration: Calibration, rule: str | None) -> Classification:
    """Return a model's predictions with calibrated probabilities, and decisions at an operating point.

    Args:
        predicted: what the model gave; targets that the calibration does not know stay as they are. Slices get the
            temperature of their case.
        calibration: of this model.
        rule: which threshold decides, for example "youden"; None: 0.5, or the most probable class.

    Raises:
        InputErrors: other classes than the calibration's, calibrated probabilities, an unknown rule, no target in
            common.
    """
    errors = list(_faults(predicted, calibration, rule))
    if errors:
        raise InputErrors(errors)
    points = {name: calibration.thresholds(name, rule) for name in predicted.targets if name in calibration.targets}

    def calibrated(name: str, prediction: Prediction) -> Prediction:
        if name not in points:
            return prediction
        known = calibration.targets[name]
        probabilities = apply_calibration(prediction.probabilities, known)
        return replace(
            prediction,
            probabilities=probabilities,
            decision=decide(known.target, probabilities, points[name]),
            thresholds=points[name],
            calibrated=True,
            slices=tuple(None if p is None else apply_calibration(p, known) for p in prediction.slices),
        )

    cases = {
        case_id: {name: calibrated(name, prediction) for name, prediction in entry.items()}
        for case_id, entry in predicted.cases.items()
    }
    return replace(predicted, cases=cases)


def fingerprint(case_id: str) -> str:
    """Return 16 hexadecimal digits that tell a case id again without spelling it out."""
    return hashlib.sha256(case_id.encode("utf-8")).hexdigest()[:16]


def _faults(predicted: Classification, calibration: Calibration, rule: str | None) -> Iterable[InputError]:
    shared = [name for name in predicted.targets if name in calibration.targets]
    if not shared:
        fault = f"expected one of the targets {', '.join(calibration.targets)}, got {', '.join(predicted.targets)}"
        yield InputError("no-common-target", predicted.path, fault, "calibrate with this model's out-of-fold table")
    for name in shared:
        ours, theirs = predicted.targets[name], calibration.targets[name].target
        where = f"{predicted.path}: target {name}"
        if (ours.type, set(ours.classes)) != (theirs.type, set(theirs.classes)):
            fault = f"expected {theirs.type} {', '.join(theirs.classes)} as in {calibration.path}"
            got = f"got {ours.type} {', '.join(ours.classes)}"
            yield InputError("classes-differ", where, f"{fault}, {got}", "use the calibration of this model")
        done = [case_id for case_id, entry in predicted.cases.items() if name in entry and entry[name].calibrated]
        if done:
            fault = f"expected probabilities as the model gave them, got calibrated ones (case {done[0]})"
            yield InputError("already-calibrated", where, fault, "leave --calibration away, or predict without it")
        try:
            calibration.thresholds(name, rule)
        except InputError as error:
            yield error


def _by_class(target: Target, value: float | Mapping[str, float]) -> Mapping[str, float]:
    return {target.classes[1]: value} if isinstance(value, (int, float)) else value
