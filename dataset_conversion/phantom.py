"""Write a synthetic head-CT cohort in exactly the source layout of HemSeg-200, or of PhysioNet CT-ICH 1.3.x.

It proves that a pipeline works from raw files to report. It says nothing about accuracy on patients.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion import phantom_hemseg200, phantom_physionet
from nnunet_multitask.dataset_conversion.phantom_hemseg200 import SPLITS, generate_cohort
from nnunet_multitask.dataset_conversion.phantom_physionet import PUBLISHED_PATIENTS, generate_physionet_cohort
from nnunet_multitask.dataset_conversion.script import run_script
from nnunet_multitask.errors import InputError

LAYOUTS = ("hemseg200", "physionet-ct-ich")
DEFAULT_COUNTS = {"train": 40, "val": 8, "test": 16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="the data set whose source layout the cohort has (default %(default)s)",
    )
    for split, count in DEFAULT_COUNTS.items():
        parser.add_argument(
            f"--{split}", type=int, metavar="N", help=f"of hemseg200: scans in the folder {split} (default {count})"
        )
    parser.add_argument(
        "--scans",
        type=int,
        metavar="N",
        help=f"of physionet-ct-ich: scans (default {len(PUBLISHED_PATIENTS)}, as published)",
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal cohorts (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace a cohort that this command wrote")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user.

    Raises:
        InputError: an option of the other layout, or as ``generate_cohort`` and ``generate_physionet_cohort`` do.
    """
    counts = {split: getattr(args, split) for split in SPLITS}
    foreign = [f"--{name}" for name, value in {**counts, "scans": args.scans}.items() if value is not None]
    foreign = [name for name in foreign if (name == "--scans") != (args.layout == "physionet-ct-ich")]
    if foreign:
        fault = f"expected the options of --layout {args.layout}, got {', '.join(foreign)}"
        raise InputError("contradicting-options", "phantom", fault, "leave them out, or choose the other layout")
    if args.layout == "physionet-ct-ich":
        num_scans = len(PUBLISHED_PATIENTS) if args.scans is None else args.scans
        generate_physionet_cohort(args.output, num_scans=num_scans, seed=args.seed, overwrite=args.overwrite)
        return _summary(args, num_scans, phantom_physionet.PHANTOM_VERSION)
    numbers = {split: DEFAULT_COUNTS[split] if count is None else count for split, count in counts.items()}
    generate_cohort(
        args.output,
        num_train=numbers["train"],
        num_val=numbers["val"],
        num_test=numbers["test"],
        seed=args.seed,
        overwrite=args.overwrite,
    )
    return _summary(args, numbers, phantom_hemseg200.PHANTOM_VERSION)


def _summary(args: argparse.Namespace, scans: int | dict[str, int], version: int) -> dict[str, Any]:
    return {
        "folder": str(args.output),
        "layout": args.layout,
        "scans": scans,
        "seed": args.seed,
        "phantom_version": version,
    }


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
