"""Write splits_final.json: folds balanced by class that never part the scans of one patient.

nnU-Net takes the folds from $nnUNet_preprocessed/DATASET/splits_final.json where that file exists. Every fold has its
share of the cases and of each class of each target, as far as whole patients allow. The same seed gives the same folds.
Folds of which one has no training case with, or none without, a class are refused, as training would refuse them. An
existing file with other folds is kept, unless --overwrite is given.

  nnunet-multitask split 200                             five folds
  nnunet-multitask split 200 --from-sidecar              one fold: the official training and validation cases
  nnunet-multitask split 200 --folds 5 --from-sidecar    five folds, and the official one as fold 5
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "write folds balanced by class and patient"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``split``."""
    parser.add_argument("dataset", metavar="DATASET", help="id or name of a dataset in $nnUNet_raw")
    parser.add_argument("--folds", type=int, metavar="K", help="number of folds (default 5; none with --from-sidecar)")
    parser.add_argument("--seed", type=int, default=12345, help="who goes where (default 12345)")
    parser.add_argument(
        "--from-sidecar",
        action="store_true",
        help="make a fold of the splits train and val of class_labels.json; the last one beside --folds",
    )
    parser.add_argument(
        "--drop-leaking",
        action="store_true",
        help="leave patients of the official validation set out of the training cases of that fold",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the counts and write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace other folds")
    parser.add_argument("--json", action="store_true", help="print path, counts and warnings as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the folds, print how many cases of each class they have, and return 0."""
    import json
    import sys

    from nnunet_multitask.datasets import find_dataset, required_folder, training_images
    from nnunet_multitask.documents import read_json, write_json
    from nnunet_multitask.errors import InputError
    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar
    from nnunet_multitask.splits import check_splits, fold_counts, make_splits, official_fold, split_warnings

    if args.drop_leaking and not args.from_sidecar:
        raise InputError("contradiction", "--drop-leaking", "expected --from-sidecar beside it, got none", "add it")
    raw = find_dataset(required_folder("nnUNet_raw"), args.dataset)
    path = required_folder("nnUNet_preprocessed") / raw.name / "splits_final.json"
    sidecar = read_sidecar(raw / SIDECAR_NAME)
    case_ids = training_images(raw, {"file_ending": ".nii.gz", **read_json(raw / "dataset.json")})
    splits = []
    if args.folds is not None or not args.from_sidecar:
        splits += make_splits(sidecar, case_ids, 5 if args.folds is None else args.folds, args.seed)
    if args.from_sidecar:
        splits.append(official_fold(sidecar, case_ids, raw / SIDECAR_NAME, args.drop_leaking))
    check_splits(sidecar, splits)
    if path.exists() and not args.overwrite and not args.dry_run and read_json(path) != splits:
        fault = "expected these folds or no file, found other folds"
        raise InputError("already-exists", path, fault, "use --overwrite; models of the old folds are then void")
    warnings = split_warnings(sidecar, splits)
    if not args.dry_run:
        write_json(path, splits)
    counts = fold_counts(sidecar, splits)
    if args.json:
        print(json.dumps({"path": str(path), "folds": counts, "warnings": [str(warning) for warning in warnings]}))
        return 0
    for warning in warnings:
        print(f"WARN {warning}", file=sys.stderr)
    for fold in counts:
        for part in ("train", "val"):
            print(f"fold {fold['fold']} {part:5} {_describe(fold[part])}")
    print(f"not written: {path}" if args.dry_run else path)
    return 0


def _describe(part: dict[str, Any]) -> str:
    from nnunet_multitask.wording import counted

    cases = counted(part["cases"], "case")
    if part["groups"] < part["cases"]:
        cases += f" of {counted(part['groups'], 'patient')}"
    classes = [
        f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count or name != "unknown")
        for target, counts in part["targets"].items()
    ]
    return "; ".join([cases, *classes])
