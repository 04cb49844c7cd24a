"""Check an nnU-Net raw dataset with class labels, and list all its faults at once.

Checks what nnU-Net's --verify_dataset_integrity leaves out: every file is read to its end, masks hold only values that
dataset.json knows, images and masks lie on the same voxels, every label belongs to a declared class and every class has
training cases, classes and masks do not contradict each other, no patient and no image lies on two sides of the folds
in splits_final.json. A fault is an ERROR (exit status 1); what is only odd is a WARN.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_multitask.cli._scoring import not_negative, positive_count

HELP = "check images, masks, class labels and folds of a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    parser.add_argument("dataset", metavar="DATASET", help="id or name of a dataset in $nnUNet_raw")
    parser.add_argument(
        "--geometry-tolerance-mm",
        type=not_negative,
        default=1e-3,
        metavar="MM",
        help="how far apart corners of image and mask may lie (default 0.001)",
    )
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="FILE",
        help="folds to check (default: splits_final.json of the preprocessed dataset, else of the raw one)",
    )
    parser.add_argument("--num-workers", type=positive_count, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 for warnings, too")
    parser.add_argument("--json", action="store_true", help="print faults and counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Print faults and counts; return 1 where there is an ERROR."""
    import json
    import sys

    from nnunet_multitask.dataset_conversion.verification import verify_dataset
    from nnunet_multitask.dataset_conversion.verification_counts import count_table
    from nnunet_multitask.datasets import find_dataset, required_folder
    from nnunet_multitask.wording import counted

    dataset = find_dataset(required_folder("nnUNet_raw"), args.dataset)
    result = verify_dataset(
        dataset,
        splits_file=args.splits or _splits_file(dataset),
        tolerance_mm=args.geometry_tolerance_mm,
        num_workers=args.num_workers,
        progress=not args.json,
    )
    status = int(bool(result.errors or (args.strict and result.warnings)))
    if args.json:
        print(json.dumps(result.to_json(), allow_nan=False))
        return status
    for error in result.errors:
        print(f"ERROR {error}", file=sys.stderr)
    for warning in result.warnings:
        print(f"WARN {warning}", file=sys.stderr)
    if result.counts:
        label_only = f", {result.counts['label_only']} without mask" if result.counts["label_only"] else ""
        training, test = (counted(result.counts[part], f"{part} case") for part in ("training", "test"))
        cases = f"{training}, {test}"
        print(f"{dataset.name}: {cases}{label_only}")
        for line in count_table(result.counts):
            print(line)
    print(f"{counted(len(result.errors), 'error')}, {counted(len(result.warnings), 'warning')}")
    return status


def _splits_file(dataset: Path) -> Path | None:
    """Return the folds that training will take, None where there are none yet."""
    from nnunet_multitask.datasets import optional_folder

    preprocessed = optional_folder("nnUNet_preprocessed")
    folders = [dataset] if preprocessed is None else [preprocessed / dataset.name, dataset]
    # planning copies a file beside dataset.json to the preprocessed data
    return next((path for folder in folders if (path := folder / "splits_final.json").is_file()), None)
