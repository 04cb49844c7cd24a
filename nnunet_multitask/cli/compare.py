"""Compare the predictions of one or more models with those of a baseline, over the same cases.

Written into the output folder: report.html (one page, works offline), comparison.json (every number) and cases.csv
(one row for each case, region and model). Differences get a bootstrap interval, the paired t-test, Wilcoxon's signed
ranks and a permutation test; the p of the primary test is corrected over the family of metrics (Holm). Of models that
classify, AUCs are compared by DeLong's test and accuracies by McNemar's. Scans of one patient count as one unit.

    nnunet-multitask compare --reference labelsTs --baseline predictions_baseline \\
        --model multitask=predictions_multitask --labels class_labels.json --images imagesTs --output comparison

A model is a folder of predicted masks, with a classification.json in it if the model classifies. NAME= before a folder
is how the report calls it; the folder's own name by default. --model can be given several times.

    nnunet-multitask compare --dataset 42 --trained stock=nnUNetTrainer__nnUNetPlans__3d_fullres \\
        --trained multitask=nnUNetTrainerMultiTask__nnUNetPlans__3d_fullres --output comparison

--trained names models in nnUNet_results: the validation predictions of their folds are joined out of fold, into
OUTPUT/out_of_fold. Reference, labels and images are then those of the dataset in nnUNet_raw. Without --baseline the
first of them is the baseline. All models must have
predicted the same cases, unless --intersection is given; what none of them predicted counts as missed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._scoring import add_shared_arguments, check_output, read_dataset_info, read_labels, text_of
from nnunet_multitask.cli._trained import Trained, check_model_name, join_trained
from nnunet_multitask.errors import InputError

HELP = "compare models with a baseline over the same cases, with a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    folder = "[NAME=]DIR"
    parser.add_argument("--baseline", metavar=folder, help="predictions of the baseline")
    parser.add_argument(
        "--model", action="append", default=[], metavar=folder, help="predictions of a model; may be repeated"
    )
    parser.add_argument(
        "--trained",
        action="append",
        default=[],
        metavar="[NAME=]MODEL",
        help="a trained model TRAINER__PLANS__CONFIGURATION of --dataset; may be repeated",
    )
    parser.add_argument("--dataset", metavar="ID", help="id or name of the dataset that --trained models belong to")
    parser.add_argument(
        "--folds", type=int, nargs="+", metavar="N", help="folds of --trained models (default: all of the splits)"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images of the cases, for the pictures of the report (imagesTs)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of report and tables")
    add_shared_arguments(parser, reference_required=False)
    _add_test_arguments(parser)


def _add_test_arguments(parser: argparse.ArgumentParser) -> None:
    tests = parser.add_argument_group("tests", "to be named before the results are seen")
    tests.add_argument(
        "--primary-test",
        choices=("paired_t", "wilcoxon", "permutation"),
        default="wilcoxon",
        help="the test whose p counts and is corrected (default: %(default)s)",
    )
    tests.add_argument(
        "--family",
        nargs="+",
        default=["dsc", "hd95", "hd95_directed", "hd"],
        metavar="METRIC",
        help="metrics whose p are corrected together, of dsc hd95 hd95_directed hd iou nsd assd masd "
        "(default: the first four)",
    )
    tests.add_argument(
        "--non-inferiority-margin",
        type=float,
        metavar="DSC",
        help="also judge whether each model's DSC is at most so much worse than the baseline's, for example 0.02",
    )
    parser.add_argument(
        "--map-classes",
        metavar="A=B,...",
        help="the models were trained on another data set: class A of theirs (mask label, class of a target) is class "
        'B of this one, "-" none of it; or a JSON file with "labels" and "targets"',
    )
    parser.add_argument(
        "--intersection",
        action="store_true",
        help="compare over the cases that every model predicted, where they predicted different ones",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, write report and tables, print the differences."""
    from nnunet_multitask.evaluation.comparison import TestOptions, compare_folders
    from nnunet_multitask.evaluation.mapped_predictions import map_models
    from nnunet_multitask.evaluation.report import write_report

    check_output(args.output, is_folder=True)
    baseline, models, trained = _models(args)
    dataset = read_dataset_info(args, list(models.values()))
    sidecar, additions = read_labels(args), {}
    if args.map_classes is not None:
        models, sidecar, additions["class_mapping"] = map_models(
            args.map_classes,
            models,
            args.output / "mapped_classes",
            labels=dataset.labels,
            sidecar=sidecar,
            file_ending=dataset.file_ending,
        )
    comparison = compare_folders(
        args.reference,
        models,
        baseline,
        labels=dataset.labels,
        sidecar=sidecar,
        images_dir=args.images,
        file_ending=dataset.file_ending,
        num_workers=args.num_workers,
        progress=True,
        tolerance_mm=args.geometry_tolerance_mm,
        command=_command(),
        options=TestOptions(args.primary_test, tuple(args.family), args.non_inferiority_margin),
        intersection=args.intersection,
        model_metadata=trained.metadata,
        case_ids=trained.case_ids,
    )
    comparison |= additions
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
            **{key: comparison[key] for key in ("case_set", "comparisons", "class_comparisons")},
        }
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print(describe(comparison))
        print(f"report: {report}")
    return 0


def named_folders(baseline: str, models: list[str]) -> tuple[str, dict[str, Path]]:
    """Split ``[NAME=]DIR`` and return the baseline's name and all folders by name, the baseline first.

    Raises:
        InputError: two folders with one name, or a name that is none of a folder.
    """
    folders: dict[str, Path] = {}
    for argument in (baseline, *models):
        name, separator, folder = argument.partition("=")
        path = Path(folder if separator and name else argument)
        name = name if separator and name else path.absolute().name
        check_model_name(name, argument)
        if name in folders:
            raise InputError(
                "duplicate-model",
                path,
                f"expected another name than {name}, which is {folders[name]}",
                f"name them: --model NAME={path}",
            )
        folders[name] = path
    return next(iter(folders)), folders


def _models(args: argparse.Namespace) -> tuple[str, dict[str, Path], Trained]:
    """Return the baseline's name and the folders of all models, and fill in what the dataset tells.

    Raises:
        InputError: no baseline, no reference, or trained models without a dataset.
    """
    where = "nnunet-multitask compare"
    if bool(args.trained) != (args.dataset is not None):
        fault = f"expected --trained and --dataset together, got only {'--trained' if args.trained else '--dataset'}"
        raise InputError("missing-option", where, fault, "name models and their dataset")
    trained = join_trained(args) if args.trained else Trained()
    given = [*([args.baseline] if args.baseline else []), *trained.arguments, *args.model]
    if not args.baseline and not args.trained:
        raise InputError("missing-option", where, "expected a baseline, got none", "name it with --baseline")
    if args.reference is None:
        raise InputError("missing-option", where, "expected reference masks, got none", "name them with --reference")
    if len(given) < 2:
        fault = f"expected a baseline and a model, got only {given[0]}"
        raise InputError("one-model", where, fault, "name both: --baseline, --model or --trained")
    baseline, models = named_folders(given[0], given[1:])
    return baseline, models, trained


def describe(comparison: Mapping[str, Any]) -> str:
    """Return the differences of a comparison as tables for the terminal."""
    baseline, primary = comparison["baseline"], comparison["test_options"]["primary"]
    width = max(5, *(len(name) for name in comparison["models"]))
    lines = [
        f"{'model':{width}}  {'DSC':>6}  {'HD95 mm':>8}  {'DSC difference':>14}  {'95 % interval':>18}  "
        f"{f'p ({primary})':>15}  {'p (Holm)':>8}  AUC"
    ]
    for name, model in sorted(comparison["models"].items(), key=lambda item: item[0] != baseline):
        summary = model["segmentation"]["summary"]["foreground"]
        auc = ", ".join(f"{target} {text_of(score['auc'])}" for target, score in model["classification"].items())
        difference, interval, p, p_holm = "baseline", "", "", ""
        if name != baseline:
            test = comparison["comparisons"][name]["foreground"]["dsc"]
            difference, interval = text_of(test["mean_difference"], 4), _interval_text(test["interval"])
            p, p_holm = text_of(test["primary"]["p"], 4), text_of(test["primary"]["p_holm"], 4)
        lines.append(
            f"{name:{width}}  {text_of(summary['dsc']['penalised']['mean']):>6}  "
            f"{text_of(summary['hd95']['penalised']['mean'], 2):>8}  {difference:>14}  {interval:>18}  {p:>15}  "
            f"{p_holm:>8}  {auc or '-'}"
        )
    lines.append("missed and false positive cases count with DSC 0 and the diagonal of the image")
    lines += [line for name in comparison["comparisons"] for line in _verdicts(comparison, name)]
    mapping = comparison.get("class_mapping", {"not_covered": {"labels": []}})
    if mapping["not_covered"]["labels"]:
        names = ", ".join(mapping["not_covered"]["labels"])
        lines.append(f"no model knows the labels {names}: where the reference has them, they count as not found")
    case_set = comparison["case_set"]
    if case_set["rule"] == "intersection":
        left_out = len({case_id for cases in case_set["left_out"].values() for case_id in cases})
        lines.append(f"over the {case_set['scored']} cases that every model predicted: {left_out} others are left out")
    return "\n".join(lines)


def _verdicts(comparison: Mapping[str, Any], name: str) -> Iterator[str]:
    """What the table has no column for: non-inferiority, and the tests of the classes."""
    verdict = comparison["comparisons"][name]["foreground"]["dsc"].get("non_inferiority")
    if verdict is not None:
        word = {True: "non-inferior", False: "not shown to be non-inferior", None: "no verdict"}[
            verdict["non_inferior"]
        ]
        reason = f" ({verdict['reason']})" if "reason" in verdict else ""
        yield (
            f"{name}: DSC {word} at a margin of {verdict['margin']:g}{reason}, "
            f"lower bound of the difference {text_of(verdict['bound'], 4)}"
        )
    for target, tests in comparison["class_comparisons"][name].items():
        for label, auc in tests["auc"].items():
            ends = _interval_text(auc)
            yield (
                f"{name}: {target} AUC of {label} {text_of(auc['auc'])} against {text_of(auc['baseline_auc'])}, "
                f"difference {text_of(auc['difference'])} {ends}, p (DeLong) {text_of(auc['p'], 4)}"
            )
        accuracy = tests["accuracy"]
        yield (
            f"{name}: {target} accuracy {text_of(accuracy['model'])} against {text_of(accuracy['baseline'])}, "
            f"p (McNemar) {text_of(accuracy['mcnemar']['p'], 4)}"
        )


def _interval_text(interval: Mapping[str, Any]) -> str:
    return "n/a" if interval["low"] is None else f"{interval['low']:.4f} to {interval['high']:.4f}"


def _command() -> str | None:
    """Return the command line of this process, where it is one of this program."""
    return shlex.join(["nnunet-multitask", *sys.argv[1:]]) if sys.argv[1:2] == ["compare"] else None
