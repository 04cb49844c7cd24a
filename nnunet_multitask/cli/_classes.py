"""Options of ``evaluate`` and ``compare`` for classes, and what they print of calibration and gate."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.evaluation.class_evaluation import ClassOptions


def add_class_arguments(parser: argparse.ArgumentParser, *, several_models: bool = False) -> None:
    """Add the options for classes; of several models each may name its own calibration, and none its classification."""
    if several_models:
        parser.add_argument(
            "--calibration",
            action="append",
            default=[],
            metavar="[NAME=]FILE",
            help="calibration.json of a model, applied to its probabilities; NAME= where several models predict "
            "classes; may be repeated",
        )
    else:
        parser.add_argument(
            "--classification",
            type=Path,
            metavar="FILE",
            help="predicted classes (default: classification.json in --prediction, where --labels is given)",
        )
        parser.add_argument(
            "--calibration",
            type=Path,
            metavar="FILE",
            help="calibration.json of the model, applied to its probabilities",
        )
        parser.add_argument(
            "--voxel-probabilities",
            action="store_true",
            help="score the largest probability of a voxel, too, from the CASE.npz that --save_probabilities wrote",
        )
    parser.add_argument(
        "--operating-point",
        metavar="RULE",
        help="rule of the calibration whose threshold decides, for example youden (default: 0.5, or the most probable)",
    )
    parser.add_argument(
        "--gate",
        metavar="TARGET[=CLASS]",
        help="tell what clearing the masks of scans that are called negative (CLASS) would change",
    )
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="FILE",
        help="splits_final.json of validation predictions: volumes are made decisions by the other folds' thresholds",
    )


def class_options(args: argparse.Namespace) -> ClassOptions:
    """Return what the options for classes say.

    Raises:
        InputError: the splits are no splits.
    """
    from nnunet_multitask.evaluation.class_evaluation import ClassOptions

    return ClassOptions(
        classification=args.classification,
        calibration=args.calibration,
        operating_point=args.operating_point,
        gate=args.gate,
        folds={} if args.splits is None else _read_folds(args.splits),
        voxel_probabilities=args.voxel_probabilities,
    )


def class_options_of_models(
    args: argparse.Namespace, models: Mapping[str, Path], folds: Mapping[str, int | str]
) -> dict[str, ClassOptions]:
    """Return what the options for classes say of each model of a comparison, by name.

    Args:
        args: the parsed options.
        models: folder of predictions by name.
        folds: the fold that validated each case, where it is known; ``--splits`` counts more.

    Raises:
        InputError, InputErrors: splits that are none, a calibration of no model, of one without classes or of another
            model, an operating point without calibration, a gate where no model predicts classes or of a target that
            is none.
    """
    from nnunet_multitask.evaluation.calibration import calibrate_classification, read_calibration
    from nnunet_multitask.evaluation.class_evaluation import ClassOptions
    from nnunet_multitask.evaluation.gate import check_gate, parse_gate
    from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, read_classification

    where = "nnunet-multitask compare"
    classifying = [name for name, folder in models.items() if (folder / CLASSIFICATION_NAME).is_file()]
    calibrations = _calibrations(args.calibration, list(models), classifying)
    if args.operating_point is not None and not calibrations:
        fault = "expected --calibration beside --operating-point, got none"
        raise InputError("missing-calibration", where, fault, "name the calibration.json of a model")
    if args.gate is not None and not classifying:
        fault = f"expected {CLASSIFICATION_NAME} of a model for --gate, found none in {', '.join(models)}"
        raise InputError("missing-classification", where, fault, "predict with a model that classifies, or leave it")
    known_folds = folds if args.splits is None else _read_folds(args.splits)
    for name in classifying:  # refuses before the long part
        predicted = read_classification(models[name] / CLASSIFICATION_NAME)
        if name in calibrations:
            calibrate_classification(predicted, read_calibration(calibrations[name]), args.operating_point)
        if args.gate is not None:
            check_gate(predicted, *parse_gate(args.gate))
    return {
        name: ClassOptions(
            calibration=calibrations.get(name),
            operating_point=args.operating_point if name in calibrations else None,
            gate=args.gate if name in classifying else None,
            folds=known_folds,
        )
        for name in models
    }


def _calibrations(arguments: Sequence[str], models: Sequence[str], classifying: Sequence[str]) -> dict[str, Path]:
    """Return the calibration of each model that has one, from ``[NAME=]FILE``."""
    found: dict[str, Path] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        if not separator or name not in models:
            name, file = classifying[0] if len(classifying) == 1 else "", argument
        where = f"--calibration {argument}"
        if name not in classifying:
            fault = f"expected NAME=FILE of a model that predicts classes ({', '.join(classifying) or 'none'} does)"
            raise InputError("unknown-model", where, fault, "name the model whose calibration it is")
        if name in found:
            raise InputError("duplicate-calibration", where, f"expected one of {name}, got another", "leave one away")
        found[name] = Path(file)
    return found


def describe_classes(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell of each target the scores of the head, those of the mask alone, and the gate."""
    if document["calibration"] is not None:
        yield describe_calibration(document["calibration"])
    for target, score in document["classification"].items():
        yield (
            f"{target}: AUC {text_of(score['auc'])}  balanced accuracy {text_of(score['balanced_accuracy'])}  "
            f"F1 {text_of(score['f1'])}  ({score['averaging']}; n = {score['n']}, "
            f"{score['missing_labels']} without a label)"
        )
        intervals = score["intervals"]
        shown = [
            f"{title} {_range(intervals[name])}"
            for name, title in (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy"), ("f1", "F1"))
            if name in intervals and intervals[name]["low"] is not None
        ]
        if shown:
            yield f"  95 %: {'  '.join(shown)}"
        for level, found in score["levels"].items():
            yield (
                f"  {level}: AUC {text_of(found['auc'])}  balanced accuracy {text_of(found['balanced_accuracy'])}  "
                f"F1 {text_of(found['f1'])}  (n = {found['n']})"
            )
    for target, found in document["mask_classification"].items():
        for rule, score in found["rules"].items():
            yield (
                f"{target} by the mask, {rule.replace('_', ' ')}: AUC {text_of(score['auc'])}  "
                f"balanced accuracy {text_of(score['balanced_accuracy'])}  F1 {text_of(score['f1'])}"
            )
            for class_name, entry in score["per_class"].items():
                against = entry.get("against_head")
                if against and against["p"] is None:
                    yield f"  head minus mask, {class_name}: p (DeLong) {p_text(against)}"
                elif against:
                    yield (
                        f"  head minus mask, {class_name}: AUC {against['difference']:+.3f} ({_range(against)}), "
                        f"p = {against['p']:.3f} (DeLong)"
                    )
    if document["gate"] is not None:
        yield from describe_gate(document["gate"])


def describe_calibration(calibration: Mapping[str, Any]) -> str:
    """Return the line that tells how probabilities were calibrated, and on how many of the very cases."""
    point = calibration["operating_point"] or "0.5 or the most probable class"
    cases = calibration["in_sample_cases"]
    note = f"; fitted on {cases} of these cases, so it looks better than it is" if cases else ""
    return f"calibrated by {calibration['file']}; decisions: {point}{note}"


def describe_gate(gate: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell what clearing the masks of negative scans would change, by region."""
    what = "no class" if gate["negative"] is None else gate["negative"]
    yield f"gate: masks of {gate['closed']} of {gate['cases']} scans cleared ({gate['target']}: {what})"
    if gate["negative_region"] is not None:
        yield f"  note: {gate['negative']} is itself a lesion (region {gate['negative_region']}): its masks are cleared"
    if not gate["calibrated"]:
        yield "  note: these probabilities are not calibrated"
    for region, found in gate["regions"].items():
        healthy, missed, volume = (found[name] for name in ("healthy_with_mask", "missed", "false_positive_ml"))
        yield (
            f"  {region}: healthy scans with a mask {healthy['before']['n']} -> {healthy['after']['n']} of "
            f"{found['healthy']}, missed {missed['before']['n']} -> {missed['after']['n']} of "
            f"{found['with_reference']}, false positive volume {volume['before']:.2f} -> {volume['after']:.2f} mL"
        )


def p_text(test: Mapping[str, Any]) -> str:
    """Return p of a test with four digits; where there is none, n/a and why."""
    from nnunet_multitask.evaluation.report_texts import reason

    return text_of(test["p"], 4) + (f" ({reason(test['reason'])})" if test["p"] is None and "reason" in test else "")


def _range(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def _read_folds(path: Path) -> dict[str, int]:
    """Return the fold that each case of splits_final.json is validated in."""
    from nnunet_multitask.documents import read_json

    splits = read_json(path)
    if not isinstance(splits, list) or not all(isinstance(s, dict) and isinstance(s.get("val"), list) for s in splits):
        fault = 'expected a list of folds {"train": [...], "val": [...]}, got something else'
        raise InputError("bad-splits", path, fault, "name the splits_final.json of the training")
    return {str(case_id): fold for fold, split in enumerate(splits) for case_id in split["val"]}
