"""Score a folder of predicted masks, and predicted classes, against references.

Every reference mask is held against the prediction of the same file name. A missing prediction counts as missed, an
extra one is listed. Written is one JSON file with every number of every case, their means and their definitions.

    nnunet-multitask evaluate --reference labelsTs --prediction predictions --output evaluation.json

with classes, too (classification.json is looked for in the prediction folder unless it is named):

    nnunet-multitask evaluate --reference labelsTs --prediction predictions \\
        --labels class_labels.json --classification predictions/classification.json --output evaluation.json

Beside the scores of the classes stand those of the class that the mask alone tells (mask_classification). With the
calibration of the model, decisions are made at one of its operating points, and --gate tells what these would change
if the masks of scans called negative were cleared:

    nnunet-multitask evaluate --reference labelsTs --prediction predictions --labels class_labels.json \\
        --calibration MODEL_FOLDER/calibration.json --operating-point youden --gate finding --output evaluation.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._classes import add_class_arguments, class_options, describe_classes
from nnunet_multitask.cli._outputs import check_evaluation_output
from nnunet_multitask.cli._scoring import (
    add_shared_arguments,
    not_negative,
    read_dataset_info,
    read_labels,
    text_of,
)

HELP = "score predicted masks and classes against references"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.add_argument("--prediction", type=Path, required=True, metavar="DIR", help="predicted masks")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the JSON file to write; an earlier evaluation is replaced, any other file is refused",
    )
    parser.add_argument(
        "--nsd-tolerance-mm",
        type=not_negative,
        metavar="MM",
        help="how far borders may lie apart and still count as equal in NSD (default: 2)",
    )
    parser.add_argument(
        "--both-empty",
        choices=("undefined", "one"),
        default="undefined",
        help="what two empty masks give: no number, left out of the means, or DSC 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--lesion-rule",
        type=_lesion_rule,
        default="any",
        metavar="RULE",
        help="when a lesion counts as found: any (overlap), dsc>=T or iou>=T (default: %(default)s)",
    )
    parser.add_argument(
        "--missing-predictions",
        choices=("missed", "stop"),
        default="missed",
        help="score a missing prediction as an empty mask, or refuse (default: %(default)s)",
    )
    add_class_arguments(parser)
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score, write the JSON file and print the means."""
    from nnunet_multitask.documents import write_json
    from nnunet_multitask.evaluation.folders import evaluate_folders

    check_evaluation_output(args.output)
    dataset = read_dataset_info(args, [args.prediction])
    document = evaluate_folders(
        args.reference,
        args.prediction,
        labels=dataset.labels,
        file_ending=dataset.file_ending,
        sidecar=read_labels(args),
        num_workers=args.num_workers,
        progress=True,
        tolerance_mm=args.geometry_tolerance_mm,
        both_empty=args.both_empty,
        lesion_rule=args.lesion_rule,
        missing=args.missing_predictions,
        classes=class_options(args),
        **({} if args.nsd_tolerance_mm is None else {"nsd_tolerance_mm": args.nsd_tolerance_mm}),
    )
    write_json(args.output, document)
    if args.json:
        classes = {
            target: {name: value for name, value in score.items() if name not in ("cases", "per_class", "levels")}
            for target, score in document["classification"].items()
        }
        answer = {
            "output": str(args.output),
            "case_flow": document["case_flow"],
            "settings": document["settings"],
            "summary": document["summary"],
            "classification": classes,
            "gate": document["gate"],
        }
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print(describe(document))
        if args.labels is not None and not document["classification"]:
            print(f"no classification.json in {args.prediction}: masks only")
        print(f"written: {args.output}")
    return 0


def describe(document: Mapping[str, Any]) -> str:
    """Return the means of an evaluation as tables for the terminal."""
    width = max(len("region"), *(len(name) for name in document["summary"]))
    metrics = {"dsc": 3, "nsd": 3, "hd95": 2, "hd95_directed": 2, "hd": 2}
    head = "     DSC     NSD   HD95 mm  directed     HD mm     n  missed  false positive  both empty"
    masks = [f"{'region':{width}}{head}"]
    lesions = [f"{'region':{width}}  lesions   found  missed  invented  sensitivity  precision      F1  invented/scan"]
    for name, summary in document["summary"].items():
        means = {metric: text_of(summary[metric]["penalised"]["mean"], digits) for metric, digits in metrics.items()}
        status, found = summary["status"], summary["lesions"]
        masks.append(
            f"{name:{width}}  {means['dsc']:>6}  {means['nsd']:>6}  {means['hd95']:>8}  {means['hd95_directed']:>8}"
            f"  {means['hd']:>8}  {summary['dsc']['penalised']['n']:>4}  {status['missed']:>6}"
            f"  {status['false_positive']:>14}  {status['both_empty']:>10}"
        )
        lesions.append(
            f"{name:{width}}  {found['reference_lesions']:>7}  {found['true_positives']:>6}  {found['misses']:>6}"
            f"  {found['false_positives']:>8}  {text_of(found['sensitivity']):>11}  {text_of(found['precision']):>9}"
            f"  {text_of(found['f1']):>6}  {text_of(found['false_positives_per_scan'], 2):>13}"
        )
    settings = document["settings"]
    unscored = document["summary"]["foreground"]["status"]["not_annotated"]
    lines = [
        *masks,
        "missed and false positive cases count with DSC and NSD 0 and the diagonal of the image; "
        f"NSD within {settings['nsd_tolerance_mm']:g} mm",
        *([f"masks of {unscored} cases are not scored: every voxel of their reference is ignored"] if unscored else []),
        "",
        *lesions,
        f"a lesion is a 26-connected part; found by the rule: {settings['lesion_rule']}",
    ]
    classes = list(describe_classes(document))
    if classes:
        lines += ["", *classes]
    return "\n".join(lines)


def _lesion_rule(text: str) -> str:
    from nnunet_multitask.evaluation.lesions import LesionRule

    try:
        return str(LesionRule.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
