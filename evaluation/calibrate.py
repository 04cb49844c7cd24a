"""From an out-of-fold table to the document of calibration.json."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.calibration import fingerprint
from nnunet_multitask.evaluation.calibration_fit import MIN_CASES, case_faults, fit_target
from nnunet_multitask.evaluation.classification import DEFINITIONS as CLASS_DEFINITIONS
from nnunet_multitask.evaluation.folders import software_versions
from nnunet_multitask.evaluation.out_of_fold import target_tables
from nnunet_multitask.evaluation.predictions import Classification
from nnunet_multitask.evaluation.thresholds import DEFAULT_RULES, RULE_TEXTS, parse_rule
from nnunet_multitask.labels import LabelSidecar

logger = logging.getLogger(__name__)

CALIBRATION_VERSION = 1
FITTED_WITH = ("aggregation", "aggregation_sha256")  # what of the table's settings a calibration holds for
DEFINITIONS = {
    "temperature": "calibrated probabilities are softmax(ln p / T) of exclusive classes, sigmoid(logit p / T) of each "
    "class of a multilabel target (Guo et al. 2017)",
    "thresholds": "a class is called present from this calibrated probability on",
    **RULE_TEXTS,
    "before": "probabilities as the model gave them",
    "after": "the cases of each fold, calibrated by what was fitted on the other folds: what to expect of new cases",
    "after_in_sample": "calibrated by what was fitted on the very same cases: too good",
    "leave_fold_out": "the folds are those of the table",
    "cross_fitted_5_by_patient": "the table has no folds: five parts drawn by class and patient, with a fixed seed",
    "enough_cases": f"{MIN_CASES} cases with each class and {MIN_CASES} without it; for a sensitivity of at least s "
    "1 / (1 - s) cases with it, for a specificity as many without it",
    **{
        name: CLASS_DEFINITIONS[name]
        for name in ("brier", "log_loss", "ece_15_equal_width_top_label", "ece_10_equal_width", "ece_10_equal_mass")
    },
}


def fit_calibration(
    predicted: Classification,
    sidecar: LabelSidecar | None = None,
    *,
    rules: Sequence[str] = DEFAULT_RULES,
    leave_out_rare: bool = False,
) -> dict[str, Any]:
    """Fit temperatures and thresholds of every target.

    Args:
        predicted: an out-of-fold table (see `read_classification`), or predictions of cases that no part of the model
            was trained on.
        sidecar: true labels and patients; without it the labels in the table.
        rules: of the thresholds, see `thresholds.RULE_TEXTS`; levels are written as "sensitivity_at_least_0.9".
        leave_out_rare: leave classes of multilabel targets, and whole targets of other types, with too few cases
            uncalibrated.

    Returns:
        The document of calibration.json, ready for strict JSON.

    Raises:
        InputError, InputErrors: an unknown rule, what `target_tables` refuses, and every class with too few cases and
            how many it needs; with `leave_out_rare` only where nothing is left.
    """
    parsed = [parse_rule(name) for name in dict.fromkeys(rules)]
    tables = target_tables(predicted, sidecar)
    faults = {name: case_faults(table, parsed, str(predicted.path)) for name, table in tables.items()}
    whole = {
        name
        for name, found in faults.items()
        if found and (tables[name].target.type != "multilabel" or len(found) == len(tables[name].target.classes))
    }
    if any(faults.values()) and (not leave_out_rare or len(whole) == len(tables)):
        found_faults = [fault for found in faults.values() for fault in found.values()]
        if leave_out_rare:  # was asked for already, and leaves nothing
            remedy = "label and predict more cases: without what is too rare no target is left"
            found_faults = [InputError(fault.code, fault.where, fault.fault, remedy) for fault in found_faults]
        raise InputErrors(found_faults)
    fitted = {
        name: fit_target(table, parsed, list(faults[name])) for name, table in tables.items() if name not in whole
    }
    for name, entry in fitted.items():
        for text in entry["warnings"]:
            code, _, fault = text.partition(": ")
            logger.warning("WARN [%s] %s: target %s: %s", code, predicted.path, name, fault)
    cases = sorted({case_id for name in fitted for case_id in tables[name].case_ids})
    folds = sorted({predicted.folds[case_id] for case_id in cases if case_id in predicted.folds}, key=str)
    return {
        "version": CALIBRATION_VERSION,
        "software": software_versions(),
        "definitions": DEFINITIONS,
        "model": dict(predicted.model),
        "fitted_on": {
            "cases": len(cases),
            "folds": folds,
            **{name: predicted.settings[name] for name in FITTED_WITH if predicted.settings.get(name) is not None},
            "case_fingerprints": sorted(fingerprint(case_id) for case_id in cases),
        },
        "left_out_targets": sorted(whole),
        "targets": fitted,
    }
