"""Compare the predictions of one or more models with those of a baseline, over the same cases.

Written into the output folder: report.html (one page, works offline), comparison.json (every number) and cases.csv
(one row for each case, region and model). Differences are tested with the paired t-test and Wilcoxon's signed ranks.

    nnunet-multitask compare --reference labelsTs --baseline predictions_baseline \\
        --model multitask=predictions_multitask --labels class_labels.json --images imagesTs --output comparison

A model is a folder of predicted masks, with a classification.json in it if the model classifies. NAME= before a folder
is how the report calls it; the folder's own name by default. --model can be given several times. All models must have
predicted the same cases; what none of them predicted counts as missed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._scoring import add_shared_arguments, check_output, read_dataset_info, read_labels, text_of
from nnunet_multitask.errors import InputError

HELP = "compare models with a baseline over the same cases, with a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    folder = "[NAME=]DIR"
    parser.add_argument("--baseline", required=True, metavar=folder, help="predictions of the baseline")
    parser.add_argument(
        "--model", action="append", required=True, metavar=folder, help="predictions of a model; may be repeated"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images of the cases, for the pictures of the report (imagesTs)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of report and tables")
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compare, write report and tables, print the differences."""
    from nnunet_multitask.evaluation.comparison import compare_folders
    from nnunet_multitask.evaluation.report import write_report

    check_output(args.output, is_folder=True)
    baseline, models = named_folders(args.baseline, args.model)
    dataset = read_dataset_info(args, list(models.values()))
    comparison = compare_folders(
        args.reference,
        models,
        baseline,
        labels=dataset.labels,
        sidecar=read_labels(args),
        images_dir=args.images,
        file_ending=dataset.file_ending,
        num_workers=args.num_workers,
        progress=True,
        tolerance_mm=args.geometry_tolerance_mm,
        command=_command(),
    )
    report = write_report(comparison, args.output)
    if args.json:
        answer = {
            "report": str(report),
            "baseline": baseline,
            "summary": {
                name: {
                    "segmentation": model["segmentation"]["summary"],
                    "auc": {target: score["auc"] for target, score in model["classification"].items()},
                }
                for name, model in comparison["models"].items()
            },
            "comparisons": comparison["comparisons"],
        }
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print(describe(comparison))
        print(f"report: {report}")
    return 0


def named_folders(baseline: str, models: list[str]) -> tuple[str, dict[str, Path]]:
    """Split ``[NAME=]DIR`` and return the baseline's name and all folders by name, the baseline first.

    Raises:
        InputError: two folders with one name.
    """
    folders: dict[str, Path] = {}
    for argument in (baseline, *models):
        name, separator, folder = argument.partition("=")
        path = Path(folder if separator and name else argument)
        name = name if separator and name else path.absolute().name
        if name in folders:
            raise InputError(
                "duplicate-model",
                path,
                f"expected another name than {name}, which is {folders[name]}",
                f"name them: --model NAME={path}",
            )
        folders[name] = path
    return next(iter(folders)), folders


def describe(comparison: Mapping[str, Any]) -> str:
    """Return the differences of a comparison as a table for the terminal."""
    baseline = comparison["baseline"]
    width = max(len(name) for name in comparison["models"])
    lines = [f"{'model':{width}}  {'DSC':>6}  {'HD95 mm':>8}  {'DSC difference':>14}  {'p (Wilcoxon)':>12}  AUC"]
    for name, model in sorted(comparison["models"].items(), key=lambda item: item[0] != baseline):
        summary = model["segmentation"]["summary"]["foreground"]
        auc = ", ".join(f"{target} {text_of(score['auc'])}" for target, score in model["classification"].items())
        difference, p = "baseline", ""
        if name != baseline:
            test = comparison["comparisons"][name]["foreground"]["dsc"]
            difference, p = text_of(test["mean_difference"], 4), text_of(test["wilcoxon"]["p"], 4)
        lines.append(
            f"{name:{width}}  {text_of(summary['dsc']['penalised']['mean']):>6}  "
            f"{text_of(summary['hd95']['penalised']['mean'], 2):>8}  {difference:>14}  {p:>12}  {auc or '-'}"
        )
    lines.append("missed and false positive cases count with DSC 0 and the diagonal of the image")
    return "\n".join(lines)


def _command() -> str | None:
    """Return the command line of this process, where it is one of this program."""
    return shlex.join(["nnunet-multitask", *sys.argv[1:]]) if sys.argv[1:2] == ["compare"] else None
