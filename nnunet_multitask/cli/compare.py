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
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._classes import add_class_arguments, class_options_of_models
from nnunet_multitask.cli._comparison_text import describe
from nnunet_multitask.cli._outputs import check_comparison_output, remove_stale_models
from nnunet_multitask.cli._scoring import above_zero, add_shared_arguments, read_dataset_info, read_labels
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
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of report and tables; an earlier comparison in it is replaced, with its out_of_fold and "
        "mapped_classes; other files in it stay",
    )
    add_shared_arguments(parser, reference_required=False)
    add_class_arguments(parser, several_models=True)
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
        "--published",
        action="append",
        default=[],
        metavar="PAPER",
        help="put the tables of a paper beside yours: xiao2025, ahmed2025, chokshi2025, hoseyni2024; may be repeated",
    )
    parser.add_argument(
        "--triage",
        metavar="TARGET[:CLASS]",
        help="simulate how long positive scans wait when they are read by the probability of this class (of two "
        "exclusive classes the second); needs the next two options",
    )
    parser.add_argument("--arrivals-per-hour", type=above_zero, metavar="N", help="scans that arrive, for --triage")
    parser.add_argument(
        "--minutes-per-scan", type=above_zero, metavar="MIN", help="reading time of a scan, for --triage"
    )
    parser.add_argument(
        "--intersection",
        action="store_true",
        help="compare over the cases that every model predicted, where they predicted different ones",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, write report and tables, print the differences."""
    from nnunet_multitask.evaluation.comparison import ComparisonOptions, compare_folders
    from nnunet_multitask.evaluation.mapped_predictions import map_models
    from nnunet_multitask.evaluation.published_results import beside_published, read_published
    from nnunet_multitask.evaluation.report import write_report
    from nnunet_multitask.evaluation.run_cost import Stopwatch
    from nnunet_multitask.evaluation.triage import check_triage, triage_models

    replaces_earlier = check_comparison_output(args.output)
    _check_triage(args)
    options = ComparisonOptions(args.primary_test, tuple(args.family), args.non_inferiority_margin)
    options.check()  # refuses before the long part
    for name in args.published:
        read_published(name)  # refuses before the long part
    baseline, models, trained = _models(args)
    read_from = list(models.values())
    dataset = read_dataset_info(args, list(models.values()))
    sidecar = read_labels(args)
    additions: dict[str, Any] = {}
    if args.map_classes is not None:
        models, sidecar, additions["class_mapping"] = map_models(
            args.map_classes,
            models,
            args.output / "mapped_classes",
            labels=dataset.labels,
            sidecar=sidecar,
            file_ending=dataset.file_ending,
        )
    if args.triage is not None:
        check_triage(args.triage, list(models.values()), sidecar)
    watch = Stopwatch()
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
        options=options,
        intersection=args.intersection,
        model_metadata=trained.metadata,
        case_ids=trained.case_ids,
        classes=class_options_of_models(args, models, trained.folds),
    )
    if args.published:
        additions["published"] = {name: beside_published(name, comparison) for name in args.published}
    if args.triage is not None:
        rates = {"arrivals_per_hour": args.arrivals_per_hour, "minutes_per_scan": args.minutes_per_scan}
        additions["triage"] = triage_models(comparison, args.triage, **rates)
    comparison |= additions
    report = write_report(comparison, args.output, watch.cost(args.num_workers))
    if replaces_earlier:
        remove_stale_models(args.output, [*read_from, *models.values()])
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
            **{key: comparison[key] for key in ("case_set", "comparisons", "class_comparisons", *additions)},
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


def _check_triage(args: argparse.Namespace) -> None:
    rates = (args.arrivals_per_hour, args.minutes_per_scan)
    if (args.triage is not None) != (None not in rates) or (args.triage is None and rates != (None, None)):
        fault = "expected --triage, --arrivals-per-hour and --minutes-per-scan together, got only some of them"
        raise InputError("missing-option", "nnunet-multitask compare", fault, "give all three")


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


def _command() -> str | None:
    """Return the command line of this process, where it is one of this program, without what changes no result.

    comparison.json is then the same whatever the number of workers and the place it is written to.
    """
    if sys.argv[1:2] != ["compare"]:
        return None
    kept: list[str] = []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        name, separator, _ = argument.partition("=")
        if len(name) > 2 and any(option.startswith(name) for option in ("--num-workers", "--output")):
            if not separator:
                next(arguments, None)  # its value
        elif argument not in ("--json", "--debug"):
            kept.append(argument)
    return shlex.join(["nnunet-multitask", *kept])
