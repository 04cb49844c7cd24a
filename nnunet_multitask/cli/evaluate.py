"""Score a folder of predicted masks, and predicted classes, against references.

Every reference mask is held against the prediction of the same file name. A missing prediction counts as missed, an
extra one is listed. Written is one JSON file with every number of every case, their means and their definitions.

    nnunet-multitask evaluate --reference labelsTs --prediction predictions --output evaluation.json

with classes, too (classification.json is looked for in the prediction folder unless it is named):

    nnunet-multitask evaluate --reference labelsTs --prediction predictions \\
        --labels class_labels.json --classification predictions/classification.json --output evaluation.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._scoring import add_shared_arguments, check_output, read_dataset_info, read_labels, text_of

HELP = "score predicted masks and classes against references"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.add_argument("--prediction", type=Path, required=True, metavar="DIR", help="predicted masks")
    parser.add_argument(
        "--classification",
        type=Path,
        metavar="FILE",
        help="predicted classes (default: classification.json in --prediction, where --labels is given)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON file to write")
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score, write the JSON file and print the means."""
    from nnunet_multitask.documents import write_json
    from nnunet_multitask.evaluation.folders import evaluate_folders

    check_output(args.output, is_folder=False)
    dataset = read_dataset_info(args, [args.prediction])
    document = evaluate_folders(
        args.reference,
        args.prediction,
        labels=dataset.labels,
        file_ending=dataset.file_ending,
        sidecar=read_labels(args),
        classification=args.classification,
        num_workers=args.num_workers,
        progress=True,
        tolerance_mm=args.geometry_tolerance_mm,
    )
    write_json(args.output, document)
    if args.json:
        classes = {
            target: {name: value for name, value in score.items() if name not in ("cases", "per_class")}
            for target, score in document["classification"].items()
        }
        answer = {
            "output": str(args.output),
            "case_flow": document["case_flow"],
            "summary": document["summary"],
            "classification": classes,
        }
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print(describe(document))
        if args.labels is not None and not document["classification"]:
            print(f"no classification.json in {args.prediction}: masks only")
        print(f"written: {args.output}")
    return 0


def describe(document: Mapping[str, Any]) -> str:
    """Return the means of an evaluation as a table for the terminal."""
    width = max(len("region"), *(len(name) for name in document["summary"]))
    lines = [
        f"{'region':{width}}  {'DSC':>6}  {'HD95 mm':>8}  {'HD mm':>8}  {'n':>4}  missed  false positive  both empty"
    ]
    for name, summary in document["summary"].items():
        dsc, hd95, hd = (summary[metric]["penalised"] for metric in ("dsc", "hd95", "hd"))
        status = summary["status"]
        lines.append(
            f"{name:{width}}  {text_of(dsc['mean']):>6}  {text_of(hd95['mean'], 2):>8}  {text_of(hd['mean'], 2):>8}"
            f"  {dsc['n']:>4}  {status['missed']:>6}  {status['false_positive']:>14}  {status['both_empty']:>10}"
        )
    lines.append("missed and false positive cases count with DSC 0 and the diagonal of the image")
    for target, score in document["classification"].items():
        lines.append(
            f"{target}: AUC {text_of(score['auc'])}  balanced accuracy {text_of(score['balanced_accuracy'])}  "
            f"F1 {text_of(score['f1'])}  ({score['averaging']}; n = {score['n']}, "
            f"{score['missing_labels']} without a label)"
        )
    return "\n".join(lines)
