"""Options of ``evaluate`` for classes, and what it prints of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.evaluation.class_evaluation import ClassOptions


def add_class_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for classes."""
    parser.add_argument(
        "--classification",
        type=Path,
        metavar="FILE",
        help="predicted classes (default: classification.json in --prediction, where --labels is given)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="calibration.json of the model, applied to its probabilities"
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
    parser.add_argument(
        "--voxel-probabilities",
        action="store_true",
        help="score the largest probability of a voxel, too, from the CASE.npz that --save_probabilities wrote",
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


def describe_classes(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell of each target the scores of the head, those of the mask alone, and the gate."""
    calibration = document["calibration"]
    if calibration is not None:
        point = calibration["operating_point"] or "0.5 or the most probable class"
        yield f"calibrated by {calibration['file']}; decisions: {point}"
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
                if against and against["p"] is not None:
                    yield (
                        f"  head minus mask, {class_name}: AUC {against['difference']:+.3f} ({_range(against)}), "
                        f"p = {against['p']:.3f} (DeLong)"
                    )
    if document["gate"] is not None:
        yield from _describe_gate(document["gate"])


def _describe_gate(gate: Mapping[str, Any]) -> Iterator[str]:
    what = "no class" if gate["negative"] is None else gate["negative"]
    yield f"gate: masks of {gate['closed']} of {gate['cases']} scans cleared ({gate['target']}: {what})"
    if not gate["calibrated"]:
        yield "  note: these probabilities are not calibrated"
    for region, found in gate["regions"].items():
        healthy, missed, volume = (found[name] for name in ("healthy_with_mask", "missed", "false_positive_ml"))
        yield (
            f"  {region}: healthy scans with a mask {healthy['before']['n']} -> {healthy['after']['n']} of "
            f"{found['healthy']}, missed {missed['before']['n']} -> {missed['after']['n']} of "
            f"{found['with_reference']}, false positive volume {volume['before']:.2f} -> {volume['after']:.2f} mL"
        )


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
