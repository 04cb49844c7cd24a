"""Check an nnU-Net raw dataset with class labels, and list all its faults at once.

Checks what nnU-Net's --verify_dataset_integrity leaves out: every file is read to its end, masks hold only values that
dataset.json knows, images and masks lie on the same voxels, every label belongs to a declared class, and every class
has training cases. A fault is an ERROR (exit status 1); what is only odd is a WARN.
"""

from __future__ import annotations

import argparse

HELP = "check images, masks and class labels of a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    parser.add_argument("dataset", metavar="DATASET", help="id or name of a dataset in $nnUNet_raw")
    parser.add_argument(
        "--geometry-tolerance-mm",
        type=float,
        default=1e-3,
        metavar="MM",
        help="how far apart corners of image and mask may lie (default 0.001)",
    )
    parser.add_argument("--json", action="store_true", help="print faults and counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Print faults and counts; return 1 where there is an ERROR."""
    import json
    import sys

    from nnunet_multitask.dataset_conversion.verification import verify_dataset
    from nnunet_multitask.datasets import find_dataset, required_folder

    dataset = find_dataset(required_folder("nnUNet_raw"), args.dataset)
    result = verify_dataset(dataset, tolerance_mm=args.geometry_tolerance_mm, progress=not args.json)
    if args.json:
        print(json.dumps(result.to_json(), allow_nan=False))
        return int(bool(result.errors))
    for error in result.errors:
        print(f"ERROR {error}", file=sys.stderr)
    for warning in result.warnings:
        print(f"WARN {warning}", file=sys.stderr)
    print(f"{dataset.name}: {result.num_training} training cases, {result.num_test} test cases")
    for target, counts in result.class_counts.items():
        print(f"{target} (training): " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    print(f"{len(result.errors)} errors, {len(result.warnings)} warnings")
    return int(bool(result.errors))
