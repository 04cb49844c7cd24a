"""Fit temperatures and thresholds of a model on cases that it was not trained on.

Written is calibration.json, into the folder of the model: a temperature that makes its probabilities mean what they
say, and for each named rule the threshold from which on a class is called present. What they are worth is told of each
fold with the numbers fitted on the other folds.

    nnunet-multitask calibrate -d 200 -c 3d_fullres -tr nnUNetTrainerMultiTask
    nnunet-multitask calibrate -m MODEL_FOLDER --labels class_labels.json --plot reliability.png

The cases are the validation cases of all folds (fold_*/validation/classification.json in the model's folder), or those
of the table that --classification names. Rules: youden, max_f1, mean_f1_over_folds, sensitivity_at_least_S,
specificity_at_least_S with S between 0 and 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.cli._nnunet import add_model, existing_model_folder
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.evaluation.predictions import Classification
    from nnunet_multitask.labels import LabelSidecar

HELP = "fit temperatures and thresholds of a model on its validation cases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``calibrate``."""
    add_model(parser)
    parser.add_argument(
        "--classification",
        type=Path,
        metavar="FILE",
        help="out-of-fold table: a classification.json with fold and, without --labels, reference of each case",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class_labels.json with the true classes and patients (default: that of the dataset of -d, else the "
        "labels in the table)",
    )
    parser.add_argument(
        "--rules",
        nargs="+",
        metavar="RULE",
        help="rules of the thresholds (default: youden max_f1 mean_f1_over_folds sensitivity_at_least_0.9 "
        "specificity_at_least_0.9)",
    )
    parser.add_argument(
        "--leave-out-rare",
        action="store_true",
        help="leave classes with too few cases uncalibrated instead of refusing (of exclusive classes the target)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file to write (default: calibration.json in the model's folder)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the reliability curves, before and after")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier calibration")
    parser.add_argument("--json", action="store_true", help="print the calibration as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Fit, write calibration.json and print what it is worth."""
    from nnunet_multitask.documents import check_schema, write_json
    from nnunet_multitask.evaluation.calibrate import fit_calibration
    from nnunet_multitask.evaluation.calibration import CALIBRATION_NAME
    from nnunet_multitask.evaluation.thresholds import DEFAULT_RULES

    named = args.m or args.d or not (args.classification and args.output)
    folder = existing_model_folder(args, ("-p", "-tr", "-c")) if named else None  # -d names the labels, too
    output = args.output or Path(str(folder)) / CALIBRATION_NAME
    check_output(output, is_folder=False)
    if output.exists() and not args.overwrite:
        raise InputError("already-exists", output, "expected no calibration, found one", "use --overwrite")
    predicted = _table(args, folder)
    if folder is not None:
        _check_targets(predicted, folder)
    document = fit_calibration(
        predicted,
        _sidecar(args, predicted),
        rules=args.rules or DEFAULT_RULES,
        leave_out_rare=args.leave_out_rare,
    )
    check_schema(document, CALIBRATION_NAME, output)
    if args.plot is not None:
        _draw(document, args.plot)
    write_json(output, document)
    if args.json:
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        print("\n".join(describe(document)))
        fitted_on = document["fitted_on"]
        folds = ", ".join(str(fold) for fold in fitted_on["folds"])
        print(f"written: {output}, from {fitted_on['cases']} cases{f' of the folds {folds}' if folds else ''}")
    return 0


def describe(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell temperatures, thresholds and what they are worth."""
    for name, entry in document["targets"].items():
        how = entry["evaluation"].replace("_", " ")
        yield f"{name}: {entry['n']} cases, {entry['missing_labels']} without a label; after: {how}"
        for class_name, temperature in _temperatures(entry):
            scores = [entry[key]["per_class"][class_name] for key in ("before", "after", "after_in_sample")]
            shown = "  ".join(
                "{} {} -> {} (in sample {})".format(title, *(text_of(score[key]) for score in scores))
                for title, key in (("ECE (10 bins of equal mass)", "ece_10_equal_mass"), ("Brier", "brier"))
            )
            yield f"  {class_name}: temperature {temperature:.3f}  {shown}"
        for rule, of_class in entry["operating_points"].items():
            for class_name, point in of_class.items():
                found = point[entry["evaluation"]] or {"recall": None, "specificity": None, "f1": None}
                yield (
                    f"  {rule}: {class_name} from {point['threshold']:.4f} on  sensitivity {text_of(found['recall'])}  "
                    f"specificity {text_of(found['specificity'])}  F1 {text_of(found['f1'])}"
                    + (f"  ({point['reason'].replace('_', ' ')})" if "reason" in point else "")
                )
        before, after = entry["before"]["log_loss"], entry["after"]["log_loss"]
        if after > before:
            yield (
                f"  note: the log loss rose from {before:.4f} to {after:.4f}: these probabilities need no temperature, "
                "or there are too few cases to find it"
            )
        for place, reason in entry.get("reasons", {}).items():
            yield f"  {place}: {reason.replace('_', ' ')}"
    for name in document["left_out_targets"]:
        yield f"{name}: too few cases, left uncalibrated"


def _temperatures(entry: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the temperature of each class that was fitted; of two exclusive classes that of the second."""
    classes = [name for name in entry["classes"] if name not in entry["left_out"]]
    if isinstance(entry["temperature"], dict):
        return [(name, entry["temperature"][name]) for name in classes]
    return [(name, entry["temperature"]) for name in (classes if len(classes) > 2 else classes[1:])]


def _table(args: argparse.Namespace, folder: Path | None) -> Classification:
    from nnunet_multitask.evaluation.out_of_fold import find_fold_files, join_folds
    from nnunet_multitask.evaluation.predictions import read_classification

    if args.classification is not None:
        return read_classification(args.classification)
    return join_folds(find_fold_files(Path(str(folder))))


def _sidecar(args: argparse.Namespace, predicted: Classification) -> LabelSidecar | None:
    """Return the sidecar that was named, or that of the dataset; None where the table brings its own labels."""
    import os

    from nnunet_multitask.datasets import find_dataset
    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar

    if args.labels is not None:
        return read_sidecar(args.labels)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed") if args.d else ():
        folder = os.environ.get(variable, "")
        if folder and Path(folder).is_dir():
            try:
                path = find_dataset(folder, args.d) / SIDECAR_NAME
            except InputError:
                continue
            if path.is_file():
                return read_sidecar(path)
    return None


def _check_targets(predicted: Classification, folder: Path) -> None:
    """Refuse a table of another model: its plans name other targets or classes."""
    from nnunet_multitask.documents import read_json

    plans = folder / "plans.json"
    if not plans.is_file():
        return
    targets = read_json(plans).get("multitask", {}).get("targets", {})
    known = {name: (entry["type"], set(entry["classes"])) for name, entry in targets.items()}
    found = {name: (target.type, set(target.classes)) for name, target in predicted.targets.items()}
    other = sorted(name for name in found if known and known.get(name) != found[name])
    if other:
        fault = f"expected the targets of the model in {folder}: {', '.join(known)}, got others: {', '.join(other)}"
        raise InputError("targets-differ", predicted.path, fault, "name the table of this model")


def _draw(document: Mapping[str, Any], path: Path) -> None:
    from nnunet_multitask.evaluation.figures import reliability_plot
    from nnunet_multitask.storage import atomic_file

    panels = {
        f"{name}: {class_name}": {
            title: entry[key]["per_class"][class_name]["reliability"]
            for title, key in (("before", "before"), ("after", "after"))
        }
        for name, entry in document["targets"].items()
        for class_name, _ in _temperatures(entry)
    }
    picture = reliability_plot(panels)
    with atomic_file(path) as temporary:
        temporary.write_bytes(picture.png)
