"""Gated attention fitted on the tiles of validation cases, and every aggregation judged on the same tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import calibration_fit
from nnunet_multitask.evaluation.calibration import fingerprint
from nnunet_multitask.evaluation.folders import software_versions
from nnunet_multitask.evaluation.intervals import units_of
from nnunet_multitask.evaluation.levels import patient_of
from nnunet_multitask.evaluation.out_of_fold import TargetTable
from nnunet_multitask.evaluation.tile_aggregations import DEFINITIONS, compare_aggregations
from nnunet_multitask.inference import attention_fit
from nnunet_multitask.inference.aggregation import AGGREGATIONS, GATED_ATTENTION, Floats, aggregate
from nnunet_multitask.inference.attention_fit import Cases, fit_gated_attention
from nnunet_multitask.inference.gated_attention import FEATURES_VERSION, GatedAttention, tile_features
from nnunet_multitask.inference.model import aggregations_of_plans, targets_of_plans
from nnunet_multitask.inference.records import record_document
from nnunet_multitask.inference.reporting import target_record
from nnunet_multitask.labels import LabelSidecar, Target
from nnunet_multitask.training.final_validation import known_of
from nnunet_multitask.workflows.seen_cases import SeenCase
from nnunet_multitask.workflows.validation_cases import Split

VERSION = 1


@dataclass(frozen=True)
class Fit:
    """What was fitted.

    Attributes:
        document: of aggregation.json.
        own: by target the model's own aggregation.
        targets: of the model.
        seen: by case.
        honest: by target and case the probabilities (outputs,) of an attention that was fitted without the case.
    """

    document: dict[str, Any]
    own: Mapping[str, str]
    targets: Mapping[str, Target]
    seen: Mapping[str, SeenCase]
    honest: Mapping[str, Mapping[str, Floats]]


def own_of(folder: Path) -> tuple[dict[str, Target], dict[str, str]]:
    """Return the targets of a trained model, and by target its own aggregation."""
    plans = read_json(folder / "plans.json")
    targets = targets_of_plans(plans, folder / "plans.json")
    return targets, aggregations_of_plans(plans, targets)


def check_cases(
    folder: Path, splits: Mapping[int, Split], sidecar: LabelSidecar, leave_out_rare: bool = False
) -> dict[str, list[str]]:
    """Return by target that can be fitted the classes that cannot, before any network runs.

    A class needs 10 cases with it and 10 without it, as for a calibration.

    Args:
        folder: of the trained model.
        splits: by fold its cases under "val".
        sidecar: its targets are those that are wanted.
        leave_out_rare: leave out classes of multilabel targets, and other targets, with too few cases.

    Raises:
        InputError: no target in common.
        InputErrors: every target with other classes than the model's, and every class with too few cases.
    """
    targets, _ = own_of(folder)
    shared = {name: target for name, target in targets.items() if name in sidecar.targets}
    if not shared:
        fault = f"expected one of the targets {', '.join(targets)}, got labels of {', '.join(sidecar.targets)}"
        raise InputError("no-common-target", folder, fault, "name the sidecar of the dataset with --labels")
    cases = [case_id for split in splits.values() for case_id in split["val"]]
    errors, rare = [], {}
    for name, target in shared.items():
        theirs = sidecar.targets[name]
        if (target.type, target.classes) != (theirs.type, theirs.classes):
            fault = f"expected {target.type} {', '.join(target.classes)}, got {theirs.type} {', '.join(theirs.classes)}"
            errors.append(InputError("classes-differ", f"labels: target {name}", fault, "use the model's labels"))
            continue
        faults = dict(_rare_classes(target, sidecar, cases))
        rare[name] = list(faults)
        if faults and not leave_out_rare:
            errors += faults.values()
        elif faults and (target.type != "multilabel" or len(faults) == len(target.classes)):
            del rare[name]
    if not errors and not rare:
        errors = [fault for name in shared for _, fault in _rare_classes(shared[name], sidecar, cases)]
    if errors:
        raise InputErrors(errors)
    return rare


def fit(
    folder: Path,
    seen: Mapping[str, SeenCase],
    model: Mapping[str, Any],
    sidecar: LabelSidecar,
    rare: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
) -> Fit:
    """Fit the attention of each target, and compare all aggregations on the same cases.

    What is told of the attention comes from fits that left the case's fold out; of a single fold from five parts drawn
    by class and patient.

    Args:
        folder: of the trained model.
        seen: by case; see `see_cases`.
        model: what saw them.
        sidecar: labels and patients.
        rare: of `check_cases`: the targets to fit, and their classes without an attention.
        settings: of the forward passes.
    """
    targets, own = own_of(folder)
    entries: dict[str, Any] = {}
    honest: dict[str, dict[str, Floats]] = {}
    for name, left_out in rare.items():
        target = targets[name]
        known = [case_id for case_id in seen if name in sidecar.cases[case_id].labels]
        codes = np.array([target.encode(sidecar.cases[case_id].labels[name]) for case_id in known])
        truth = codes == 1 if target.type == "multilabel" else codes == np.arange(len(target.classes))
        patients = [patient_of(sidecar, case_id) for case_id in known]
        units = units_of(patients)
        bags = [tile_features(target, seen[c].tiles[name], seen[c].weights) for c in known]
        cases = Cases(bags, truth, units)
        folds = [seen[case_id].fold for case_id in known]
        table = TargetTable(target, known, patients, folds, np.zeros(truth.shape), truth, len(seen) - len(known))
        parts, how = calibration_fit.left_out_parts(table)
        whole, steps = fit_gated_attention(target, cases, own[name], left_out)
        # a case without a label was not fitted on
        honest[name] = {c: _gated(whole, seen[c], name) for c in seen if c not in set(known)}
        for part in np.unique(parts):
            without, _ = fit_gated_attention(target, cases.select(parts != part), own[name], left_out)
            honest[name] |= {
                c: _gated(without, seen[c], name) for c, inside in zip(known, parts == part, strict=True) if inside
            }
        outputs = {
            kind: np.stack([aggregate(kind, target, seen[c].tiles[name], seen[c].weights) for c in known])
            for kind in AGGREGATIONS
        }
        outputs[GATED_ATTENTION] = np.stack([honest[name][c] for c in known])
        probabilities = {kind: _by_class(target, values) for kind, values in outputs.items()}
        entries[name] = {
            "type": target.type,
            "classes": list(target.classes),
            "n": len(known),
            "left_out": list(left_out),
            "steps": steps,
            **whole.to_json(),
            "evaluation": how,
            "comparison": compare_aggregations(target, truth, probabilities, own[name], units),
        }
    used = [c for c in seen if any(name in sidecar.cases[c].labels for name in rare)]
    document = {
        "version": VERSION,
        "features_version": FEATURES_VERSION,
        "software": {**software_versions(), "torch": str(torch.__version__)},
        "definitions": DEFINITIONS,
        "model": dict(model),
        "settings": {
            **settings,
            "hidden": attention_fit.HIDDEN,
            "prior": attention_fit.PRIOR,
            "learning_rate": attention_fit.LEARNING_RATE,
            "max_steps": attention_fit.MAX_STEPS,
            "seed": attention_fit.SEED,
        },
        "fitted_on": {
            "cases": len(used),
            "folds": sorted({seen[c].fold for c in used}),
            "case_fingerprints": sorted(fingerprint(c) for c in used),
        },
        "left_out_targets": sorted(set(targets) & set(sidecar.targets) - set(rare)),
        "targets": entries,
    }
    return Fit(document, own, targets, seen, honest)


def out_of_fold_table(
    found: Fit, aggregations: Mapping[str, str], sha256: str, sidecar: LabelSidecar
) -> dict[str, Any]:
    """Return the ``classification.json`` of the seen cases by one aggregation, for `calibrate`.

    Args:
        found: of `fit`.
        aggregations: by target; ``gated_attention`` is that which was fitted without the case.
        sha256: of aggregation.json.
        sidecar: true labels.
    """
    cases = {}
    for case_id, case in found.seen.items():
        records = {}
        for name, target in found.targets.items():
            kind = aggregations[name]
            outputs = (
                found.honest[name][case_id]
                if kind == GATED_ATTENTION
                else aggregate(kind, target, case.tiles[name], case.weights)
            )
            records[name] = target_record(target, outputs[None], outputs[None])
        cases[case_id] = {"targets": records, "fold": case.fold, **known_of(sidecar, case_id)}
    gated = GATED_ATTENTION in aggregations.values()
    settings = {"aggregation": dict(aggregations), "aggregation_sha256": sha256 if gated else None}
    return record_document(found.document["model"], settings, found.targets, cases)


def _by_class(target: Target, outputs: Floats) -> NDArray[np.float64]:
    """Return the probability of each class, (N, C), both of a binary target, of outputs (N, outputs)."""
    columns = [1 - outputs, outputs] if target.type == "binary" else [outputs]
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _gated(attention: GatedAttention, case: SeenCase, name: str) -> Floats:
    return attention(case.tiles[name], case.weights)


def _rare_classes(target: Target, sidecar: LabelSidecar, case_ids: Sequence[str]) -> list[tuple[str, InputError]]:
    """Return the classes with too few cases, and what is said of each."""
    labels = [sidecar.cases[c].labels[target.name] for c in case_ids if target.name in sidecar.cases[c].labels]
    found = []
    needed = calibration_fit.MIN_CASES
    exclusive_pair = target.type != "multilabel" and len(target.classes) == 2
    for class_name in target.classes[1:] if exclusive_pair else target.classes:
        present = sum(class_name in ((label,) if isinstance(label, str) else label) for label in labels)
        if present < needed or len(labels) - present < needed:
            fault = (
                f"expected at least {needed} validation cases with {class_name} and {needed} without it, got {present} "
                f"and {len(labels) - present}"
            )
            remedy = "label more cases, train more folds, or leave what is too rare out with --leave-out-rare"
            found.append((class_name, InputError("too-few-cases", f"target {target.name}", fault, remedy)))
    return found
